//! API keys of operators and back ends, sent as `X-API-Key`.
//!
//! Kept and compared as SHA-256, every configured key each time, so that the time taken tells nothing of a key.

use std::sync::Arc;

use arc_swap::ArcSwap;
use gateway_config::{ApiKey, Auth};
use sha2::{Digest as _, Sha256};
use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};

use crate::error::SetupError;

/// What an API key is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRole {
    /// The right of the `admin` role.
    Admin,
    /// Of a back end: may push.
    Service,
}

/// The configured API keys; clones share them. Its `Debug` tells only how many there are.
#[derive(Clone)]
pub struct ApiKeys(Arc<ArcSwap<Digests>>);

/// SHA-256 of each key.
type Digests = Vec<([u8; 32], KeyRole)>;

impl ApiKeys {
    /// Takes the keys of a configuration and reads those that stand in files; white space around a file's key is
    /// dropped.
    ///
    /// # Errors
    /// A file that cannot be read or is empty.
    pub fn load(auth: &Auth) -> Result<Self, SetupError> {
        let admin = auth.admin_keys.iter().map(|key| (key, KeyRole::Admin));
        let service = auth.service_keys.iter().map(|key| (key, KeyRole::Service));
        let keys = admin.chain(service).map(|(key, role)| Ok((digest(key)?, role)));
        let keys: Digests = keys.collect::<Result<_, SetupError>>()?;
        Ok(Self(Arc::new(ArcSwap::from_pointee(keys))))
    }

    /// Takes the keys of `other` in place of its own, for all clones. Says whether they differ.
    pub fn replace(&self, other: &Self) -> bool {
        let keys = other.0.load_full();
        *self.0.swap(keys.clone()) != *keys
    }

    /// What a presented key is good for. A key that is given under both roles is an admin key.
    #[must_use]
    pub fn role(&self, presented: &str) -> Option<KeyRole> {
        let presented: [u8; 32] = Sha256::digest(presented).into();
        // 0: none, 1: service, 2: admin. No early return: the time depends on the number of keys alone.
        let mut found = 0_u8;
        for (key, role) in self.0.load().iter() {
            let rank = match role {
                KeyRole::Service => 1,
                KeyRole::Admin => 2,
            };
            let better = found.max(rank);
            found.conditional_assign(&better, key.ct_eq(&presented));
        }
        match found {
            2 => Some(KeyRole::Admin),
            1 => Some(KeyRole::Service),
            _ => None,
        }
    }
}

impl std::fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApiKeys({})", self.0.load().len())
    }
}

fn digest(key: &ApiKey) -> Result<[u8; 32], SetupError> {
    match key {
        ApiKey::Plain(key) => Ok(Sha256::digest(key.expose()).into()),
        ApiKey::Sha256(digest) => Ok(*digest),
        ApiKey::File(path) => {
            let text = std::fs::read_to_string(path).map_err(|source| SetupError::KeyFile {
                path: path.clone(),
                source,
            })?;
            let key = text.trim();
            if key.is_empty() {
                return Err(SetupError::EmptyApiKey(path.clone()));
            }
            Ok(Sha256::digest(key).into())
        }
    }
}

/// Whether two secrets are the same, in a time that does not tell how much of them is.
#[must_use]
pub fn same_secret(one: &str, other: &str) -> bool {
    let digest = |text: &str| -> [u8; 32] { Sha256::digest(text).into() };
    digest(one).ct_eq(&digest(other)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(admin: Vec<ApiKey>, service: Vec<ApiKey>) -> Result<ApiKeys, SetupError> {
        ApiKeys::load(&Auth {
            admin_keys: admin,
            service_keys: service,
            ..Auth::default()
        })
    }

    #[test]
    fn each_form_of_a_key_gives_its_role() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "from-a-file\n").unwrap();
        let hash = Sha256::digest("hashed").into();
        let keys = keys(
            vec![ApiKey::Plain("plain".into()), ApiKey::Sha256(hash)],
            vec![ApiKey::File(path), ApiKey::Plain("plain".into())],
        )
        .unwrap();
        assert_eq!(keys.role("plain"), Some(KeyRole::Admin));
        assert_eq!(keys.role("hashed"), Some(KeyRole::Admin));
        assert_eq!(keys.role("from-a-file"), Some(KeyRole::Service));
        for wrong in ["", "plai", "plain ", "from-a-file\n"] {
            assert_eq!(keys.role(wrong), None, "{wrong:?}");
        }
        assert_eq!(format!("{keys:?}"), "ApiKeys(4)");
    }

    #[test]
    fn replaced_keys_count_for_all_clones() {
        let plain = |key: &str| keys(vec![], vec![ApiKey::Plain(key.into())]).unwrap();
        let keys = plain("old");
        let clone = keys.clone();
        assert!(!keys.replace(&plain("old")));
        assert!(keys.replace(&plain("new")));
        assert_eq!(
            (clone.role("old"), clone.role("new")),
            (None, Some(KeyRole::Service))
        );
    }

    #[test]
    fn without_keys_nobody_has_a_role() {
        assert_eq!(keys(vec![], vec![]).unwrap().role(""), None);
    }

    #[test]
    fn a_missing_or_empty_key_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let missing = keys(vec![ApiKey::File(path.clone())], vec![]);
        assert!(matches!(missing, Err(SetupError::KeyFile { .. })));
        std::fs::write(&path, " \n").unwrap();
        assert!(matches!(
            keys(vec![ApiKey::File(path)], vec![]),
            Err(SetupError::EmptyApiKey(_))
        ));
    }
}
