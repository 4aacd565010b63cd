//! `emsync user …`: who may use the page.

use std::path::Path;

use anyhow::Context as _;

use super::args::{Global, User, WithPassword};
use super::{ExitCode, Usage, output, prompt};
use crate::catalogue;
use crate::config::Secret;
use crate::node::Node;
use crate::web::password;

pub(super) async fn run(global: &Global, command: User) -> anyhow::Result<ExitCode> {
    let looks_only = matches!(&command, User::List(_) | User::Remove { dry_run: true, .. });
    let node = if looks_only {
        super::open_to_look(global).await?
    } else {
        super::open(global).await?
    };
    match command {
        User::Add(args) => add(&node, &args).await?,
        User::Password(args) => change(&node, &args).await?,
        User::List(args) => {
            for user in node.catalogue.users().await? {
                let (created_at, changed_at) =
                    (user.created_at.to_string(), user.changed_at.to_string());
                if args.json {
                    let printed = serde_json::json!({"name": user.name, "created_at": created_at, "changed_at": changed_at});
                    output::json(&printed)?;
                } else {
                    let text = format!(
                        "{}  since {created_at}, password of {changed_at}",
                        user.name
                    );
                    output::line(&text)?;
                }
            }
        }
        User::Remove { name, dry_run } => remove(&node, &name, dry_run).await?,
    }
    node.catalogue.close().await;
    Ok(ExitCode::Ok)
}

/// The first user of a new node, with the password from `file` or one that is made and printed.
pub(super) async fn first(node: &Node, name: &str, file: Option<&Path>) -> anyhow::Result<()> {
    let args = WithPassword {
        name: name.to_owned(),
        password_file: file.map(Path::to_owned),
        generate: file.is_none(),
    };
    add(node, &args).await
}

/// Whether somebody can be called so.
pub(super) fn check_name(name: &str) -> Result<(), Usage> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
    if !name.is_empty() && name.len() <= 64 && name.chars().all(plain) {
        return Ok(());
    }
    Err(Usage(format!(
        "{name:?} is no name for a user: use up to 64 letters, digits, '.', '_', '-' and '@'"
    )))
}

async fn add(node: &Node, args: &WithPassword) -> anyhow::Result<()> {
    check_name(&args.name)?;
    let taken = || anyhow::anyhow!("there is a user {:?} already", args.name);
    // Nobody types a password for a name that is taken.
    anyhow::ensure!(node.catalogue.user(&args.name).await?.is_none(), taken());
    let given = given(node, args)?;
    let now = node.seams.clock.now();
    let user = catalogue::User {
        name: args.name.clone(),
        password: kept(node, &given)?,
        created_at: now,
        changed_at: now,
    };
    let mut batch = node.catalogue.batch().await?;
    anyhow::ensure!(batch.put_user(&user).await?, taken());
    show(args, &given)?;
    Ok(batch.commit().await?)
}

async fn change(node: &Node, args: &WithPassword) -> anyhow::Result<()> {
    let none = || anyhow::anyhow!("there is no user {:?}", args.name);
    anyhow::ensure!(node.catalogue.user(&args.name).await?.is_some(), none());
    let given = given(node, args)?;
    let (kept, now) = (kept(node, &given)?, node.seams.clock.now());
    let mut batch = node.catalogue.batch().await?;
    anyhow::ensure!(batch.set_password(&args.name, &kept, now).await?, none());
    show(args, &given)?;
    Ok(batch.commit().await?)
}

async fn remove(node: &Node, name: &str, dry_run: bool) -> anyhow::Result<()> {
    let none = || anyhow::anyhow!("there is no user {name:?}");
    if dry_run {
        anyhow::ensure!(node.catalogue.user(name).await?.is_some(), none());
        return Ok(output::line(&format!("would remove user {name:?}"))?);
    }
    let mut batch = node.catalogue.batch().await?;
    anyhow::ensure!(batch.remove_user(name).await?, none());
    Ok(batch.commit().await?)
}

fn given(node: &Node, args: &WithPassword) -> anyhow::Result<Secret> {
    match &args.password_file {
        _ if args.generate => Ok(password::make(&node.seams)),
        Some(file) => prompt::first_line_of(file),
        None => prompt::secret("Password", "Once more"),
    }
}

fn kept(node: &Node, password: &Secret) -> anyhow::Result<String> {
    password::kept(password, &node.seams).map_err(|error| Usage(error.to_string()).into())
}

/// Prints a password that was made. Nobody can read it later, so one that could not be printed must not be kept.
fn show(args: &WithPassword, password: &Secret) -> anyhow::Result<()> {
    if !args.generate {
        return Ok(());
    }
    output::line(password.expose()).context("the password could not be printed and is not kept")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for good in ["ann", "ann.b@example.org", "a"] {
            check_name(good).unwrap();
        }
        for bad in ["", "a b", "a\n", "ä", &"x".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
