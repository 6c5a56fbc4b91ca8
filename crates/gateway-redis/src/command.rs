//! Commands and scripts before they are sent. What they do is the server's matter; nothing here knows a key.

use std::sync::OnceLock;

use deadpool_redis::redis::{self, Arg, Cmd, ToRedisArgs};

/// Commands that end in the same state, and give the same answer or one that nobody reads, when they are carried out twice.
const REPEATABLE: &[&str] = &[
    "DEL",
    "ECHO",
    "EXISTS",
    "GET",
    "HEXISTS",
    "HGET",
    "HMGET",
    "HVALS",
    "PEXPIRE",
    "PUBLISH",
    "SADD",
    "SET",
    "SMEMBERS",
    "SRANDMEMBER",
    "SREM",
    "TIME",
    "ZADD",
    "ZCARD",
    "ZRANGEBYLEX",
    "ZREM",
];

/// A script of the server's. Sent by its hash; a server that does not know it yet is sent the source once.
pub struct Script {
    source: &'static str,
    hash: OnceLock<String>,
    is_repeatable: bool,
}

impl Script {
    /// A script from its source, to be kept in a `static`. Its hash is computed when it is first used. It is never sent
    /// again once it may have been carried out.
    #[must_use]
    pub const fn new(source: &'static str) -> Self {
        Self {
            source,
            hash: OnceLock::new(),
            is_repeatable: false,
        }
    }

    /// The same for a script that may be carried out twice with the same arguments: the second time it changes nothing
    /// and gives the reply of the first. It is sent again when a connection is lost before its reply.
    #[must_use]
    pub const fn repeatable(source: &'static str) -> Self {
        Self {
            source,
            hash: OnceLock::new(),
            is_repeatable: true,
        }
    }

    fn hash(&self) -> &str {
        self.hash
            .get_or_init(|| redis::Script::new(self.source).get_hash().to_owned())
    }
}

/// One command. It has no `Debug`: its arguments may be secrets.
#[derive(Clone)]
pub struct Command {
    pub(crate) cmd: Cmd,
    pub(crate) script: Option<&'static Script>,
    is_repeatable: bool,
}

impl Command {
    /// A command by its name in upper case, such as `HGETALL`. When a connection is lost before the reply, reads, and
    /// writes that may be carried out twice, are sent again; others are not.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            cmd: redis::cmd(name),
            script: None,
            is_repeatable: REPEATABLE.contains(&name),
        }
    }

    /// A call of a script on these keys, which lie in one slot on a Cluster; further arguments are its `ARGV`.
    #[must_use]
    pub fn script(script: &'static Script, keys: &[&str]) -> Self {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(script.hash()).arg(keys.len()).arg(keys);
        Self {
            cmd,
            script: Some(script),
            is_repeatable: script.is_repeatable,
        }
    }

    /// Whether carrying it out twice is the same as once.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.is_repeatable
    }

    /// One more argument; a list is as many as it has members, an absent `Option` is none.
    #[must_use]
    pub fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        self.cmd.arg(arg);
        self
    }
}

/// The call with the script's source instead of its hash.
pub(crate) fn in_full(script: &Script, by_hash: &Cmd) -> Cmd {
    let mut cmd = redis::cmd("EVAL");
    cmd.arg(script.source);
    // The name and the hash are replaced, all that follows stays.
    for arg in by_hash.args_iter().skip(2) {
        if let Arg::Simple(bytes) = arg {
            cmd.arg(bytes);
        }
    }
    cmd
}

#[cfg(test)]
mod tests {
    use super::*;

    static SCRIPT: Script = Script::new("return ARGV[1]");

    fn words(cmd: &Cmd) -> Vec<String> {
        let text = |arg| match arg {
            Arg::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => panic!("a cursor"),
        };
        cmd.args_iter().map(text).collect()
    }

    #[test]
    fn a_script_is_called_by_its_hash_and_in_full_with_the_same_keys_and_arguments() {
        let call = Command::script(&SCRIPT, &["{u}:a", "{u}:b"]).arg("x").arg(7);
        let tail = ["2", "{u}:a", "{u}:b", "x", "7"];
        let short = words(&call.cmd);
        assert_eq!((short[0].as_str(), short[1].len()), ("EVALSHA", 40));
        assert_eq!(short[2..], tail);
        let full = words(&in_full(&SCRIPT, &call.cmd));
        assert_eq!(full[..2], ["EVAL", "return ARGV[1]"]);
        assert_eq!(full[2..], tail);
    }
}
