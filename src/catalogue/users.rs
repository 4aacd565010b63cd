//! Who may use the page, and the sessions of those who do. A session is stored as the digest of what its browser shows, so
//! that a copy of the catalogue lets nobody in.

use super::{Batch, Catalogue, Error, during};
use crate::model::{Sha256, Timestamp};

/// Somebody who may use the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// What they log in as.
    pub name: String,
    /// Their password as argon2id keeps it (PHC form).
    pub password: String,
    /// When they were added.
    pub created_at: Timestamp,
    /// When the password was set.
    pub changed_at: Timestamp,
}

/// Somebody who is logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of what the browser shows.
    pub hash: Sha256,
    /// Whose it is.
    pub user: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

type Columns = (String, String, i64, i64);

impl Catalogue {
    /// All users, by name; they are few.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn users(&self) -> Result<Vec<User>, Error> {
        let rows: Vec<Columns> = sqlx::query_as(
            "SELECT name, password, created_at, changed_at FROM page_user ORDER BY name",
        )
        .fetch_all(&self.db.readers)
        .await
        .map_err(during("read users"))?;
        Ok(rows.into_iter().map(user).collect())
    }

    /// The user of this name.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn user(&self, name: &str) -> Result<Option<User>, Error> {
        let row: Option<Columns> = sqlx::query_as(
            "SELECT name, password, created_at, changed_at FROM page_user WHERE name = $1",
        )
        .bind(name)
        .fetch_optional(&self.db.readers)
        .await
        .map_err(during("read a user"))?;
        Ok(row.map(user))
    }

    /// The session with this digest, unless it is over.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn session(&self, hash: &Sha256, now: Timestamp) -> Result<Option<Session>, Error> {
        let row: Option<(String, i64, i64)> = sqlx::query_as(
            "SELECT name, created_at, expires_at FROM page_session WHERE hash = $1 AND expires_at > $2",
        )
        .bind(&hash.as_bytes()[..])
        .bind(now.as_millis())
        .fetch_optional(&self.db.readers)
        .await
        .map_err(during("read a session"))?;
        Ok(row.map(|(user, created_at, expires_at)| Session {
            hash: *hash,
            user,
            created_at: Timestamp::from_millis(created_at),
            expires_at: Timestamp::from_millis(expires_at),
        }))
    }
}

impl Batch {
    /// Adds a user; `false` when the name is taken.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn put_user(&mut self, user: &User) -> Result<bool, Error> {
        let done = sqlx::query(
            "INSERT INTO page_user (name, password, created_at, changed_at) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING",
        )
        .bind(&user.name)
        .bind(&user.password)
        .bind(user.created_at.as_millis())
        .bind(user.changed_at.as_millis())
        .execute(&mut *self.tx)
        .await
        .map_err(during("store a user"))?;
        Ok(done.rows_affected() == 1)
    }

    /// Gives a user another password, which ends all their sessions; `false` when there is no such user.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn set_password(
        &mut self,
        name: &str,
        password: &str,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let done =
            sqlx::query("UPDATE page_user SET password = $1, changed_at = $2 WHERE name = $3")
                .bind(password)
                .bind(now.as_millis())
                .bind(name)
                .execute(&mut *self.tx)
                .await
                .map_err(during("change a password"))?;
        self.end_sessions_of(name).await?;
        Ok(done.rows_affected() == 1)
    }

    /// Removes a user with all their sessions; `false` when there was none.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn remove_user(&mut self, name: &str) -> Result<bool, Error> {
        let done = sqlx::query("DELETE FROM page_user WHERE name = $1")
            .bind(name)
            .execute(&mut *self.tx)
            .await
            .map_err(during("remove a user"))?;
        self.end_sessions_of(name).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn end_sessions_of(&mut self, name: &str) -> Result<(), Error> {
        sqlx::query("DELETE FROM page_session WHERE name = $1")
            .bind(name)
            .execute(&mut *self.tx)
            .await
            .map_err(during("end a user's sessions"))?;
        Ok(())
    }

    /// Begins a session, and forgets those that are over. `password` is the one it was begun with: `false`, and no session, when
    /// the user has another one by now, or is gone.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn put_session(&mut self, session: &Session, password: &str) -> Result<bool, Error> {
        sqlx::query("DELETE FROM page_session WHERE expires_at <= $1")
            .bind(session.created_at.as_millis())
            .execute(&mut *self.tx)
            .await
            .map_err(during("forget sessions"))?;
        let done = sqlx::query(
            "INSERT INTO page_session (hash, name, created_at, expires_at)
             SELECT $1, name, $2, $3 FROM page_user WHERE name = $4 AND password = $5",
        )
        .bind(&session.hash.as_bytes()[..])
        .bind(session.created_at.as_millis())
        .bind(session.expires_at.as_millis())
        .bind(&session.user)
        .bind(password)
        .execute(&mut *self.tx)
        .await
        .map_err(during("begin a session"))?;
        Ok(done.rows_affected() == 1)
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn end_session(&mut self, hash: &Sha256) -> Result<(), Error> {
        sqlx::query("DELETE FROM page_session WHERE hash = $1")
            .bind(&hash.as_bytes()[..])
            .execute(&mut *self.tx)
            .await
            .map_err(during("end a session"))?;
        Ok(())
    }
}

fn user((name, password, created_at, changed_at): Columns) -> User {
    User {
        name,
        password,
        created_at: Timestamp::from_millis(created_at),
        changed_at: Timestamp::from_millis(changed_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn user(name: &str) -> User {
        User {
            name: name.to_owned(),
            password: "one".to_owned(),
            created_at: at(1),
            changed_at: at(1),
        }
    }

    fn session(user: &str, began: i64, ends: i64) -> Session {
        Session {
            hash: Sha256::of(format!("{user}{began}").as_bytes()),
            user: user.to_owned(),
            created_at: at(began),
            expires_at: at(ends),
        }
    }

    #[tokio::test]
    async fn a_session_ends_with_its_time_its_password_and_its_user() {
        let dir = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(&dir.path().join("c.db")).await.unwrap();
        let mut batch = catalogue.batch().await.unwrap();
        assert!(batch.put_user(&user("ann")).await.unwrap());
        assert!(!batch.put_user(&user("ann")).await.unwrap());
        let first = session("ann", 10, 20);
        assert!(batch.put_session(&first, "one").await.unwrap());
        assert!(
            !batch
                .put_session(&session("ann", 11, 20), "old")
                .await
                .unwrap()
        );
        assert!(
            !batch
                .put_session(&session("bob", 11, 20), "one")
                .await
                .unwrap()
        );
        batch.commit().await.unwrap();

        let found = catalogue.session(&first.hash, at(19)).await.unwrap();
        assert_eq!(found.as_ref(), Some(&first));
        assert_eq!(catalogue.session(&first.hash, at(20)).await.unwrap(), None);

        let mut batch = catalogue.batch().await.unwrap();
        assert!(batch.set_password("ann", "two", at(12)).await.unwrap());
        assert!(!batch.set_password("bob", "two", at(12)).await.unwrap());
        let second = session("ann", 13, 30);
        assert!(batch.put_session(&second, "two").await.unwrap());
        batch.commit().await.unwrap();
        assert_eq!(catalogue.session(&first.hash, at(13)).await.unwrap(), None);
        let known = catalogue.user("ann").await.unwrap().unwrap();
        assert_eq!((known.password.as_str(), known.changed_at), ("two", at(12)));

        let mut batch = catalogue.batch().await.unwrap();
        assert!(batch.remove_user("ann").await.unwrap());
        assert!(!batch.remove_user("ann").await.unwrap());
        batch.commit().await.unwrap();
        assert_eq!(catalogue.session(&second.hash, at(14)).await.unwrap(), None);
        assert_eq!(catalogue.users().await.unwrap(), []);
    }
}
