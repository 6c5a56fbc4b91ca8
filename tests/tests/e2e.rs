//! Every rule of the contract that can be broken, over real sockets against the real programs.
//!
//! One binary, a module a section of the contract, so that what is shared is linked once.
#![expect(clippy::unwrap_used, reason = "a test that fails, fails")]

mod e2e {
    mod acknowledging;
    mod commands;
    mod connection;
    mod devices;
    mod embedding;
    mod grpc;
    mod handshake;
    mod http_api;
    mod identifiers;
    mod json_forms;
    mod limits;
    mod load;
    mod program;
    mod protobuf;
    mod push;
    mod resume;
    mod rfc6455;
    mod rotation;
    mod sessions;
    mod tls;
    mod tokens;
    mod upstream;
}
