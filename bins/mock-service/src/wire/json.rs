//! JSON: the `data` of a message, and of its reply.
//!
//! | service | commands |
//! |---|---|
//! | user | 1001 login · 1003 register · 1004 get user info · 1005 update user info |
//! | message | 2001 send · 2002, 2007 history |
//! | friend | 3001, 3101 add · 3002 remove · 3003 list · 3004 requests · 3005 answer · 3006 search users |
//! | group | 4001 create · 4002 info · 4003 list · 4007 join · 4008 leave · 4009 members · 4010 messages · 4013 search · 4014 send |
//! | push | 5002 message · 5003 notification · 5004 system · 5101 kick · 5102 presence |
//! | each | x998 echo, in any encoding (see `wire`) |
//! | each | x999 change faults (mock only) |
//!
//! 3001 is a heartbeat by the gateway's default routes, hence 3101. Field names are those of the contract and
//! of the `im.*` messages; where MyChat's web client has another name for the same thing, it is an alias.

mod read;
mod write;

pub(crate) use read::read;
pub(crate) use write::{profile_json, write, write_offline};
