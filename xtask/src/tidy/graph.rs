//! The allowed edges between the workspace's crates. Siblings never import siblings, so that each trade can be
//! taken alone and the layout itself proves the architecture.

use crate::workspace::Package;

/// Who may depend on whom, development dependencies included. `*` is everything.
const ALLOWED: &[(&str, &[&str])] = &[
    ("gateway-codec", &[]),
    ("gateway-config", &[]),
    ("gateway-net", &["gateway-config"]),
    ("gateway-redis", &["gateway-config"]),
    (
        "gateway-auth",
        &["gateway-config", "gateway-codec", "gateway-redis"],
    ),
    (
        "gateway-conn",
        &["gateway-config", "gateway-codec", "gateway-redis"],
    ),
    ("gateway-router", &["gateway-config", "gateway-codec"]),
    ("gateway-client", &["gateway-codec"]),
    (
        "gateway-server",
        &[
            "gateway-codec",
            "gateway-config",
            "gateway-net",
            "gateway-redis",
            "gateway-auth",
            "gateway-conn",
            "gateway-router",
        ],
    ),
    ("mock-service", &["gateway-codec"]),
    ("loadgen", &["gateway-client", "gateway-codec"]),
    ("xtask", &["gateway-config"]),
    ("gateway-tests", &["*"]),
];

/// Every edge that is not allowed, and every crate that the table does not know.
pub(super) fn check(packages: &[Package]) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in packages {
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == package.name) else {
            complaints.push(format!(
                "crate {} has no line in xtask's table of allowed edges",
                package.name
            ));
            continue;
        };
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| dependency.path.is_some())
        {
            if !allowed.contains(&"*") && !allowed.contains(&dependency.name.as_str()) {
                complaints.push(format!("{} must not depend on {}", package.name, dependency.name));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn package(name: &str, on: &str) -> Package {
        let dependency = Dependency {
            name: on.to_owned(),
            path: Some("somewhere".into()),
        };
        Package {
            name: name.to_owned(),
            dependencies: vec![dependency],
        }
    }

    #[test]
    fn siblings_may_not_import_siblings() {
        assert_eq!(check(&[package("gateway-net", "gateway-config")]), [""; 0]);
        assert_eq!(
            check(&[package("gateway-net", "gateway-codec")]),
            ["gateway-net must not depend on gateway-codec"]
        );
    }

    #[test]
    fn nobody_but_tests_imports_the_server() {
        assert_eq!(check(&[package("loadgen", "gateway-server")]).len(), 1);
        assert_eq!(check(&[package("gateway-tests", "gateway-server")]).len(), 0);
    }

    #[test]
    fn an_unknown_crate_is_told() {
        assert_eq!(check(&[package("gateway-extra", "gateway-codec")]).len(), 1);
    }
}
