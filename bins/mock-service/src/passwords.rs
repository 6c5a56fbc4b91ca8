//! Password hashes: argon2id, made and checked away from the threads that serve.
//!
//! The cost is far below what a real service takes (64 KiB of memory, one pass; OWASP asks for 19 MiB and
//! two): this program stands in for one under load, and its accounts all have the password `password`. Two
//! checks per core run at once, a thousand wait, the rest are told to come again.

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::sync::Semaphore;

use crate::error::ServiceError;

const MEMORY_KIB: u32 = 64;
const PASSES: u32 = 1;
const WAITING: usize = 1_000;

/// The hasher could not be set up or could not hash.
#[derive(Debug, thiserror::Error)]
#[error("the password hasher failed")]
pub struct HashError;

/// Makes and checks hashes.
pub(crate) struct Passwords {
    argon2: Argon2<'static>,
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    /// Checked against where the account is unknown, so that the answer takes as long.
    decoy: Arc<str>,
}

impl Passwords {
    pub(crate) fn new() -> Result<Self, HashError> {
        let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|_| HashError)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let decoy = hash(&argon2, "not the password of anybody")?;
        let at_once = 2 * std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            argon2,
            running: Arc::new(Semaphore::new(at_once)),
            admitted: Arc::new(Semaphore::new(at_once + WAITING)),
            decoy,
        })
    }

    /// Hashes on this thread: for the start, when nobody waits.
    pub(crate) fn hash_now(&self, password: &str) -> Result<Arc<str>, HashError> {
        hash(&self.argon2, password)
    }

    /// Hashes a password; 503 where too many wait.
    pub(crate) async fn hash(&self, password: String) -> Result<Arc<str>, ServiceError> {
        let argon2 = self.argon2.clone();
        self.aside(move || hash(&argon2, &password))
            .await?
            .map_err(|HashError| failed())
    }

    /// Whether `password` is the one of `hash`; with no hash at all it is not, in the same time.
    pub(crate) async fn verify(
        &self,
        password: String,
        hash: Option<Arc<str>>,
    ) -> Result<bool, ServiceError> {
        let argon2 = self.argon2.clone();
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| Arc::clone(&self.decoy));
        let matches = self
            .aside(move || {
                PasswordHash::new(&hash)
                    .is_ok_and(|parsed| argon2.verify_password(password.as_bytes(), &parsed).is_ok())
            })
            .await?;
        Ok(known && matches)
    }

    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        let busy = || ServiceError::unavailable("too many logins at once");
        let _admitted = self.admitted.try_acquire().map_err(|_| busy())?;
        let running = Arc::clone(&self.running)
            .acquire_owned()
            .await
            .map_err(|_| busy())?;
        tokio::task::spawn_blocking(move || {
            // The permit goes with the work, which a cancelled caller does not stop.
            let _running = running;
            work()
        })
        .await
        .map_err(|_| failed())
    }
}

fn hash(argon2: &Argon2<'_>, password: &str) -> Result<Arc<str>, HashError> {
    let hash = argon2.hash_password(password.as_bytes()).map_err(|_| HashError)?;
    Ok(hash.to_string().into())
}

fn failed() -> ServiceError {
    ServiceError::new(gateway_codec::Code::Internal, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again_and_an_unknown_account_never_matches() {
        let passwords = Passwords::new().unwrap();
        let hash = passwords.hash("password".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert!(
            passwords
                .verify("password".into(), Some(Arc::clone(&hash)))
                .await
                .unwrap()
        );
        assert!(!passwords.verify("passwort".into(), Some(hash)).await.unwrap());
        assert!(
            !passwords
                .verify("not the password of anybody".into(), None)
                .await
                .unwrap()
        );
    }
}
