use std::path::Path;

use super::*;

fn with_file(path: &Path) -> Auth {
    Auth {
        revocation_file: Some(path.to_owned()),
        ..config()
    }
}

fn start(path: &Path, clock: &Arc<ManualClock>) -> Authenticator {
    Authenticator::new(&with_file(path), clock.clone(), Arc::new(SystemRandom)).unwrap()
}

#[tokio::test]
async fn a_logout_outlives_a_restart_and_is_dropped_when_the_token_is_dead() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/here/revoked");
    let clock = clock();
    let auth = start(&path, &clock);
    let pair = auth.login(subject()).await.unwrap();
    let other = auth.login(subject()).await.unwrap();
    auth.logout(&pair.identity).await.unwrap();
    drop(auth);

    let auth = start(&path, &clock);
    assert_eq!(
        auth.authenticate(&pair.access_token).await,
        Err(AuthError::Revoked)
    );
    auth.authenticate(&other.access_token).await.unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.lines()
            .any(|line| line.starts_with(pair.identity.token_id()))
    );
    assert!(!text.contains(&pair.refresh_token) && !text.contains(&pair.access_token));

    clock.advance(Duration::from_secs(86_405));
    drop(start(&path, &clock));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
}

#[tokio::test]
async fn a_logout_after_a_restart_ends_younger_tokens_of_the_same_login_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("revoked");
    let clock = clock();
    let auth = start(&path, &clock);
    let first = auth.login(subject()).await.unwrap();
    clock.advance(Duration::from_secs(80_000));
    let second = auth.refresh(&first.refresh_token, None).await.unwrap();
    let auth = start(&path, &clock);
    auth.logout(&first.identity).await.unwrap();
    clock.advance(Duration::from_secs(10_000)); // the first is dead by now
    assert_eq!(
        auth.authenticate(&second.access_token).await,
        Err(AuthError::Revoked)
    );
}

#[tokio::test]
async fn a_reuse_outlives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("revoked");
    let clock = clock();
    let auth = start(&path, &clock);
    let first = auth.login(subject()).await.unwrap();
    let second = auth.refresh(&first.refresh_token, None).await.unwrap();
    clock.advance(Duration::from_secs(31));
    auth.refresh(&first.refresh_token, None).await.unwrap_err();
    let auth = start(&path, &clock);
    assert_eq!(
        auth.authenticate(&second.access_token).await,
        Err(AuthError::Revoked)
    );
}

#[test]
fn broken_lines_are_left_out_and_the_rest_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("revoked");
    let later = 1_900_000_000_000_u64;
    let text = format!("good {later}\nover 5\nno-number\nbad x\n {later}\n\nalso {later}\r\nhalf 19000000");
    let mut bytes = text.into_bytes();
    bytes.splice(0..0, [0xff, b' ', b'1', b'\n']);
    std::fs::write(&path, bytes).unwrap();
    drop(start(&path, &clock()));
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        format!("also {later}\ngood {later}\n")
    );
}

#[test]
fn a_file_that_cannot_be_had_is_told_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let error = Authenticator::new(&with_file(folder.path()), clock(), Arc::new(SystemRandom))
        .err()
        .unwrap();
    assert!(matches!(error, SetupError::RevocationFile { .. }));
}
