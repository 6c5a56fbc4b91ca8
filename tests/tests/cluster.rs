//! Several nodes as one: sessions, pushes and their promises across real processes on a real Redis.
#![expect(clippy::unwrap_used, reason = "a test that fails, fails")]

mod cluster {
    mod chaos;
    mod closed_connections;
    mod cost;
    mod delivery;
    mod drain;
    mod failure;
    mod mutual_tls;
    mod presence;
    mod rebalance;
    mod resume;
    mod rotation;
    mod sessions;
    mod topologies;
}
