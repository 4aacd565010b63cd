//! The operations of a sequence. They name nodes, files and records by number and never look at what is there, so that any of them
//! can be left out of a sequence and the rest still means something.

use crate::support::chance::Chance;

/// Files of a node's folder; few, so that operations meet.
pub(super) const FILES: usize = 4;

/// One operation, on the node that its first number says. What cannot be done in the state it meets does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    /// A new file is imported, or one gets another content.
    Write(usize, usize),
    /// A new picture is imported, or a file becomes one.
    Draw(usize, usize),
    /// A file goes from the folder, and with it its asset.
    Remove(usize, usize),
    /// A file is found under another name.
    Move(usize, usize, usize),
    /// A record that is known there is edited, whoever owns it.
    Edit(usize, usize),
    /// A collection is made.
    Collect(usize),
    /// A record that is known there is deleted, whoever owns it.
    Delete(usize, usize),
    /// A rectangle of a picture is chosen.
    Crop(usize, usize, usize),
    /// What changed at one of its peers is pulled.
    Sync(usize, usize),
    /// Everything is pulled from one of its peers.
    Seed(usize, usize),
    /// A pull dies at a call that would change its disk.
    Kill(usize, usize, u64),
    /// A file is replaced, and the import dies at such a call.
    KillImport(usize, usize, u64),
    /// The wire to a peer is cut in a pull, after so many bytes; an EMDB fails by chance, by this seed.
    Cut(usize, usize, i64),
    /// Somebody means harm, in worlds where there is somebody.
    Attack(usize, usize),
    /// Whatever any node has is brought to all.
    Pass,
}

/// A sequence of operations over that many nodes.
pub(super) fn sequence(seed: u64, nodes: usize) -> Vec<Op> {
    let mut chance = Chance::new(seed).fork("operations");
    let mut ops: Vec<Op> = (0..nodes).map(|node| Op::Write(node, 0)).collect();
    // What all know can be edited by all.
    ops.extend(chance.percent(50).then_some(Op::Pass));
    for _ in 0..chance.below(12) + 8 {
        ops.push(one(&mut chance, nodes));
    }
    ops
}

fn one(chance: &mut Chance, nodes: usize) -> Op {
    let (node, peer) = (chance.below(nodes), chance.below(12));
    let (file, other) = (chance.below(FILES), chance.below(FILES));
    let record = chance.below(1_000);
    // Of the first few that a node knows, so that edits meet.
    let few = chance.below(3);
    match chance.below(44) {
        0..=4 => Op::Write(node, file),
        5 | 6 => Op::Draw(node, file),
        7 => Op::Remove(node, file),
        8 | 9 => Op::Move(node, file, other),
        10..=15 => Op::Edit(node, few),
        41 => Op::Pass,
        42 | 43 => Op::Attack(node, record),
        16 => Op::Collect(node),
        17 | 18 => Op::Delete(node, record % 6),
        19 | 20 => Op::Crop(node, record, chance.below(3)),
        21..=31 => Op::Sync(node, peer),
        32 => Op::Seed(node, peer),
        33..=35 => Op::Kill(node, peer, chance.next() % 40),
        36 => Op::KillImport(node, file, chance.next() % 30),
        _ => Op::Cut(node, peer, 200 + (chance.next() % 20_000) as i64),
    }
}

impl Op {
    /// The node it is done on; the first for what all do.
    pub(super) fn node(self) -> usize {
        match self {
            Self::Pass => 0,
            Self::Write(node, _)
            | Self::Draw(node, _)
            | Self::Remove(node, _)
            | Self::Move(node, ..)
            | Self::Edit(node, _)
            | Self::Collect(node)
            | Self::Delete(node, _)
            | Self::Crop(node, ..)
            | Self::Sync(node, _)
            | Self::Seed(node, _)
            | Self::Kill(node, ..)
            | Self::KillImport(node, ..)
            | Self::Attack(node, _)
            | Self::Cut(node, ..) => node,
        }
    }
}
