//! Passwords of the page: kept as argon2id (RFC 9106, the parameters of OWASP's first choice: 19 MiB, two passes), checked in a
//! time that does not tell whether the user exists.
//!
//! A check costs memory and tens of milliseconds of a core, so it runs on a blocking thread, and only `AT_ONCE` run at a time.

use std::sync::{Arc, OnceLock};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::Semaphore;

use crate::config::Secret;
use crate::seams::Seams;

/// Fewest characters.
pub const SHORTEST: usize = 10;
/// Most bytes.
pub const LONGEST: usize = 1024;
/// Checks that run at one time.
const AT_ONCE: usize = 2;
/// Random bytes of a salt (RFC 9106, 3.1).
const SALT_BYTES: usize = 16;
/// Random bytes of a password that is made here: 24 characters.
const MADE_BYTES: usize = 15;

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPassword {
    /// Too few characters.
    #[error("a password has at least {SHORTEST} characters")]
    Short,
    /// More bytes than anybody types.
    #[error("a password has at most {LONGEST} bytes")]
    Long,
}

/// What is kept of a password.
///
/// # Errors
/// [`BadPassword`] when it is too short or too long.
pub fn kept(password: &Secret, seams: &Seams) -> Result<String, BadPassword> {
    let text = password.expose();
    if text.chars().count() < SHORTEST {
        return Err(BadPassword::Short);
    }
    if text.len() > LONGEST {
        return Err(BadPassword::Long);
    }
    let mut salt = [0; SALT_BYTES];
    seams.rng.fill(&mut salt);
    let hash: PasswordHash = Argon2::default()
        .hash_password_with_salt(text.as_bytes(), &salt)
        .expect("the parameters are argon2's own and the salt is long enough");
    Ok(hash.to_string())
}

/// A password that nobody guesses, to be shown once.
#[must_use]
pub fn make(seams: &Seams) -> Secret {
    let mut raw = [0; MADE_BYTES];
    seams.rng.fill(&mut raw);
    Secret::new(
        data_encoding::BASE32_NOPAD
            .encode(&raw)
            .to_ascii_lowercase(),
    )
}

/// Checks passwords, a few at a time.
#[derive(Debug)]
pub struct Checker {
    permits: Semaphore,
    nobody: Arc<OnceLock<String>>,
    seams: Seams,
}

impl Checker {
    /// A checker; computes nothing yet.
    #[must_use]
    pub fn new(seams: Seams) -> Self {
        Self {
            permits: Semaphore::new(AT_ONCE),
            nobody: Arc::default(),
            seams,
        }
    }

    /// Whether `password` is the one that `kept` was made of. Without `kept`, which is a user that does not exist, it takes as
    /// long and is false.
    pub async fn is(&self, password: Secret, kept: Option<String>) -> bool {
        if password.expose().len() > LONGEST {
            return false;
        }
        let permit = self.permits.acquire().await;
        let (nobody, seams) = (Arc::clone(&self.nobody), self.seams.clone());
        let checked = tokio::task::spawn_blocking(move || {
            let exists = kept.is_some();
            let kept = kept.unwrap_or_else(|| {
                let made = || self::kept(&make(&seams), &seams).expect("long enough");
                nobody.get_or_init(made).clone()
            });
            let Ok(hash) = PasswordHash::new(&kept) else {
                return false;
            };
            let same = Argon2::default().verify_password(password.expose().as_bytes(), &hash);
            exists && same.is_ok()
        });
        let is = checked.await.unwrap_or(false);
        drop(permit);
        is
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_itself_is_taken_and_nobody_has_one() {
        let seams = Seams::os();
        let (password, checker) = (make(&seams), Checker::new(seams.clone()));
        let kept = kept(&password, &seams).unwrap();
        assert!(
            kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{kept}"
        );
        assert!(checker.is(password.clone(), Some(kept.clone())).await);
        let other = Secret::new(format!("{}x", password.expose()));
        assert!(!checker.is(other, Some(kept)).await);
        assert!(!checker.is(password.clone(), None).await);
        assert!(!checker.is(password, Some("no hash".to_owned())).await);
    }

    #[test]
    fn short_and_endless_passwords_are_refused_and_equal_ones_are_kept_differently() {
        let seams = Seams::os();
        let of = |text: &str| kept(&Secret::new(text), &seams);
        assert_eq!(of("ninechars"), Err(BadPassword::Short));
        assert_eq!(of(&"x".repeat(LONGEST + 1)), Err(BadPassword::Long));
        assert_ne!(of("ten chars!").unwrap(), of("ten chars!").unwrap());
    }
}
