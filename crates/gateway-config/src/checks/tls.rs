//! Certificates: which files belong together, and who is who by the name in one.

use crate::config::Config;
use crate::error::ErrorKind;
use crate::reading::Reading;

use super::invalid;

pub(super) fn check(config: &Config, reading: &mut Reading) {
    clients(config, reading);
    grpc(config, reading);
    names(config, reading);
}

fn clients(config: &Config, reading: &mut Reading) {
    if config.server.ssl_enabled {
        let paths = [
            ("server.ssl_cert_path", config.server.ssl_cert_path.is_none()),
            ("server.ssl_key_path", config.server.ssl_key_path.is_none()),
        ];
        for (path, missing) in paths {
            if missing {
                reading.fault_at(path, ErrorKind::Missing("`server.ssl_enabled` is true"));
            }
        }
    }
}

fn grpc(config: &Config, reading: &mut Reading) {
    let Some(tls) = &config.server.grpc_tls else {
        return;
    };
    let paths = [
        ("server.grpc_tls.cert_path", tls.cert_path.is_none()),
        ("server.grpc_tls.key_path", tls.key_path.is_none()),
    ];
    for (path, missing) in paths {
        if missing {
            reading.fault_at(path, ErrorKind::Missing("`server.grpc_tls` is given"));
        }
    }
    if tls.require_client_cert && tls.client_ca_path.is_none() {
        let why = "certificates of clients are required";
        reading.fault_at("server.grpc_tls.client_ca_path", ErrorKind::Missing(why));
    }
}

/// Who shows a name gets a right, so a name must say one thing only.
fn names(config: &Config, reading: &mut Reading) {
    let node = config.cluster.certificate_name.iter();
    let services = config.auth.service_certificates.iter().enumerate();
    let named: Vec<(String, &String)> = node
        .map(|name| ("cluster.certificate_name".to_owned(), name))
        .chain(services.map(|(index, name)| (format!("auth.service_certificates[{index}]"), name)))
        .collect();
    let asked = config
        .server
        .grpc_tls
        .as_ref()
        .is_some_and(|tls| tls.client_ca_path.is_some());
    for (path, name) in &named {
        if !is_dns_name(name) {
            invalid(reading, path, "must be a DNS name, without wildcard");
        }
        if !asked {
            let what = "needs `server.grpc_tls.client_ca_path`: no certificate is asked for without it";
            invalid(reading, path, what);
        }
    }
    let Some(node) = &config.cluster.certificate_name else {
        return;
    };
    for (index, name) in config.auth.service_certificates.iter().enumerate() {
        if name.eq_ignore_ascii_case(node) {
            let path = format!("auth.service_certificates[{index}]");
            invalid(
                reading,
                &path,
                "is `cluster.certificate_name` too: a back end would be a node",
            );
        }
    }
}

fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(label) && name.parse::<std::net::IpAddr>().is_err()
}
