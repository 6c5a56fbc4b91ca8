//! Protobuf: the `im.*` messages, told apart by type name.
//!
//! A service takes its own types under any command number, because the gateway's default routes and the
//! original clients number some commands differently. Every reply carries a `base` that says SUCCESS; what
//! has no message of its own in `im.*` is a `BaseResponse` whose payload is the JSON of the data.

mod read;
mod write;

pub(crate) use read::read;
pub(crate) use write::write;
