//! The reference of all keys, written from their declarations.

use std::fmt::Write as _;

use crate::config::Config;
use crate::load::{PLATFORM_STRATEGY, ROUTER_CONFIG};
use crate::platforms::Platforms;
use crate::routing::Routing;
use crate::setting::Key;
use crate::show::effective_json;

const HEAD: &str = "\
# Configuration

<!-- Generated from the declarations in gateway-config by `cargo xtask codegen`; do not edit. -->

Three JSON files: `gateway_config.json`, and beside it `platform_strategy.json` and `router_config.json` (or named by
`--platform-strategy F`, `--router-config F`). Each may be missing, and so may every key without the word *required*.

Order, later over earlier: defaults, file, environment, flags. An environment variable sets the key of the main file
whose path it spells: `GATEWAY__SERVER__HTTP_PORT=9081` is `server.http_port`; lists are texts separated by commas, or
JSON. `REDIS_URL`, `REDIS_HOST`, `REDIS_PORT` and `REDIS_PASSWORD` set the keys of `redis`; the last two count only where Redis is
asked for.

Unknown keys are errors, and all errors are told at once. `gateway-server check-config` tells them without starting,
and what would refuse a start outside `--dev`; `print-config` shows what takes effect, secrets hidden.

Accepted other names: `gateway.*` for `server.*`, `auth.secret_key` for `auth.jwt_secret`, `services.user_service` for
`services.user`, and `host` with `port` for the one endpoint of a service. Relative paths are relative to the working
directory. `null` is the same as leaving an optional key out. Sizes know KB, MB, GB (powers of 1,000) and KiB, MiB, GiB
(powers of 1,024).
";

/// The reference of every key of the three files with type, default and meaning, in Markdown.
#[must_use]
pub fn reference_markdown() -> String {
    let mut text = HEAD.to_owned();
    for (file, keys) in [
        ("gateway_config.json", Config::keys()),
        (PLATFORM_STRATEGY, Platforms::keys()),
        (ROUTER_CONFIG, Routing::keys()),
    ] {
        // Writing to a String cannot fail, here and below.
        let _ = write!(text, "\n## `{file}`\n");
        let (sections, alone): (Vec<Key>, Vec<Key>) =
            keys.into_iter().partition(|key| !key.nested.is_empty());
        if !alone.is_empty() {
            text.push('\n');
            table(&mut text, &alone, "");
        }
        for key in sections {
            let _ = write!(text, "\n### `{}`\n\n{}\n\n", key.name, meaning(&key));
            table(&mut text, &key.nested, &format!("{}{}", key.name, key.joint));
        }
    }
    defaults(&mut text);
    text
}

fn table(text: &mut String, keys: &[Key], before: &str) {
    text.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
    rows(text, keys, before);
}

fn rows(text: &mut String, keys: &[Key], before: &str) {
    for key in keys {
        let bounds = key
            .bounds
            .map_or(String::new(), |(low, high)| format!(", {low} to {high}"));
        let default = if key.default.is_null() {
            "none".to_owned()
        } else {
            format!("`{}`", key.default)
        };
        let path = format!("{before}{}", key.name);
        let _ = writeln!(
            text,
            "| `{path}` | {}{bounds} | {} | {} |",
            cell(&key.type_name),
            cell(&default),
            cell(&meaning(key))
        );
        rows(text, &key.nested, &format!("{path}{}", key.joint));
    }
}

fn meaning(key: &Key) -> String {
    key.meaning
        .iter()
        .map(|line| line.trim())
        .collect::<Vec<_>>()
        .join(" ")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn defaults(text: &mut String) {
    let config = effective_json(&Config::defaults());
    text.push_str(
        "\n## Defaults of the two smaller files\n\nWithout `platform_strategy.json` (a file replaces this as a whole):\n",
    );
    let platforms = serde_json::json!({ "platforms": config["platforms"] });
    let _ = write!(text, "\n```json\n{platforms:#}\n```\n");
    text.push_str("\nThe default routes, over which the routes of `router_config.json` are laid:\n\n");
    text.push_str("| command | handler | sensitivity |\n|---|---|---|\n");
    for rule in &Config::defaults().router.routes {
        let _ = writeln!(
            text,
            "| {} | `{}` | {} |",
            rule.key(),
            rule.handler,
            rule.sensitivity.name()
        );
    }
}
