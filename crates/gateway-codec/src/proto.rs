//! The protobuf messages, as `cargo xtask codegen` writes them from `proto/`.
//!
//! The generated files are `include!`d, so that a formatter leaves them as they come and a drift check can
//! compare bytes. Service code stands behind the feature `grpc`. Messages that hold passwords, tokens or
//! payloads that may hold them have a `Debug` of their own, in `redacted`.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated code: its documentation is in the contracts it is generated from"
)]

mod redacted;

/// Messages of MyChat's protobuf clients.
pub mod im {
    /// Header and the messages of commands without a type of their own.
    pub mod base {
        include!("proto/generated/im.base.rs");
    }
    /// The original clients' command numbers.
    pub mod command {
        include!("proto/generated/im.command.rs");
    }
    /// Friends and friend requests.
    pub mod friend_ {
        include!("proto/generated/im.friend.rs");
    }
    /// Groups, members and their messages.
    pub mod group {
        include!("proto/generated/im.group.rs");
    }
    /// Direct messages.
    pub mod message {
        include!("proto/generated/im.message.rs");
    }
    /// Pushes.
    pub mod push {
        include!("proto/generated/im.push.rs");
    }
    /// Accounts.
    pub mod user {
        include!("proto/generated/im.user.rs");
    }
}

/// The contracts between gateway and back ends.
pub mod mychat {
    /// What business services offer to the gateway.
    pub mod backend {
        /// Version 1.
        pub mod v1 {
            include!("proto/generated/mychat.backend.v1.rs");
        }
    }
    /// What nodes of a cluster say to each other.
    pub mod cluster {
        /// Version 1.
        pub mod v1 {
            include!("proto/generated/mychat.cluster.v1.rs");
        }
    }
    /// What the gateway offers to business services.
    pub mod gateway {
        /// Version 1.
        pub mod v1 {
            include!("proto/generated/mychat.gateway.v1.rs");
        }
    }
}

pub use mychat::backend::v1 as backend;
pub use mychat::cluster::v1 as cluster;
pub use mychat::gateway::v1 as gateway;

/// All contracts as an encoded `google.protobuf.FileDescriptorSet`, for gRPC server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("proto/generated/descriptors.bin");
