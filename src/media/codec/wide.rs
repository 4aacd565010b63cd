//! The widest registers this machine has, for loops over samples.
//!
//! The compiler targets the oldest machine of its kind. What runs through [`widest`] is compiled once more for newer ones and
//! the better version is chosen at run time; both give the same values, since all that is run so computes in whole numbers or
//! in single operations that IEEE 754 fixes.

#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "a function for newer machines may only be called on one"
    )
)]

/// A loop worth compiling twice. `run` must be `#[inline(always)]`, and so must what it calls, or nothing is gained.
pub(in crate::media) trait Work {
    /// What it results in.
    type Output;
    /// Does it.
    fn run(self) -> Self::Output;
}

/// An array of what `make` makes of each index, inline wherever it stands: those of the standard library are calls in what
/// runs through [`widest`], and calls of what is compiled for the oldest machine.
#[inline(always)]
pub(in crate::media) fn array<T: Copy + Default, const N: usize>(
    make: impl Fn(usize) -> T,
) -> [T; N] {
    let mut all = [T::default(); N];
    let mut at = 0;
    while at < N {
        all[at] = make(at);
        at += 1;
    }
    all
}

/// Runs `work` as fast as this machine can.
#[cfg(target_arch = "x86_64")]
pub(in crate::media) fn widest<W: Work>(work: W) -> W::Output {
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn newer<W: Work>(work: W) -> W::Output {
        work.run()
    }
    let is_newer = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("popcnt");
    if is_newer {
        // SAFETY: the machine has every feature that the function is compiled for, as just asked.
        unsafe { newer(work) }
    } else {
        work.run()
    }
}

/// Runs `work`; other machines' compilers already use what all of them have.
#[cfg(not(target_arch = "x86_64"))]
pub(in crate::media) fn widest<W: Work>(work: W) -> W::Output {
    work.run()
}
