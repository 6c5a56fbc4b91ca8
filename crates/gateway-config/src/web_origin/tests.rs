use super::*;

fn allows(pattern: &str, origin: &str) -> bool {
    let patterns = [pattern.parse().unwrap()];
    OriginPattern::any_allows(&patterns, &WebOrigin::parse(origin.as_bytes()))
}

#[test]
fn origins_match_as_browsers_send_them() {
    for (pattern, origin) in [
        ("https://app.example.com", "https://app.example.com"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("http://app.example.com:80", "http://app.example.com"),
        ("https://app.example.com", "https://app.example.com:443"),
        ("HTTPS://App.Example.COM/", "https://app.example.com"),
        ("https://app.example.com:8443", "https://app.example.com:8443"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://*.example.com", "https://a.example.com"),
        ("https://*.example.com", "https://a.b.example.com"),
        ("https://*.example.com:443", "https://a.example.com"),
        ("http://*.localhost:3000", "http://chat.localhost:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://[0:0:0:0:0:0:0:1]:3000", "http://[::1]:3000"),
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("http://my_host:3000", "http://my_host:3000"),
        ("null", "null"),
        ("*", "null"),
        ("*", "https://anybody.example"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("file://", "file://"),
    ] {
        assert!(allows(pattern, origin), "{pattern} {origin}");
    }
}

#[test]
fn other_origins_do_not_match() {
    for (pattern, origin) in [
        ("https://app.example.com", "http://app.example.com"),
        ("https://app.example.com", "https://app.example.com:8443"),
        ("https://app.example.com", "https://app.example.com.evil.example"),
        ("https://app.example.com", "https://app.example.com@evil.example"),
        ("https://app.example.com", "null"),
        ("https://app.example.com", "https://app.example.com/path"),
        ("https://*.example.com", "https://example.com"),
        ("https://*.example.com", "https://evilexample.com"),
        ("https://*.example.com", "https://.example.com"),
        ("https://*.example.com", "http://a.example.com"),
        ("https://*.example.com", "https://a.example.com:8443"),
        ("https://*.example.com", "https://a.example.com.evil.example"),
        ("null", "https://app.example.com"),
    ] {
        assert!(!allows(pattern, origin), "{pattern} {origin}");
    }
}

#[test]
fn a_pattern_that_would_never_match_is_refused() {
    for (text, error) in [
        ("", OriginError::Scheme),
        ("example.com", OriginError::Scheme),
        ("*.example.com", OriginError::Scheme),
        ("//example.com", OriginError::Scheme),
        ("wss://example.com", OriginError::SocketScheme("wss".to_owned())),
        ("https://example.com/chat", OriginError::Extra),
        ("https://example.com?x", OriginError::Extra),
        ("https://me@example.com", OriginError::Extra),
        ("https://", OriginError::Host),
        ("https://a b.example", OriginError::Host),
        ("https://a..example", OriginError::Host),
        ("https://*.", OriginError::Host),
        ("https://example.com:0", OriginError::Port),
        ("https://example.com:", OriginError::Port),
        ("https://example.com:65536", OriginError::Port),
        ("https://example.com:*", OriginError::Wildcard),
        ("https://*", OriginError::Wildcard),
        ("https://*example.com", OriginError::Wildcard),
        ("https://a.*.com", OriginError::Wildcard),
        ("https://*.*.com", OriginError::Wildcard),
        ("https://*.127.0.0.1", OriginError::Wildcard),
        ("*://example.com", OriginError::Scheme),
    ] {
        assert_eq!(text.parse::<OriginPattern>(), Err(error), "{text}");
    }
}

#[test]
fn patterns_are_shown_in_the_form_that_is_compared() {
    for (text, shown) in [
        ("HTTPS://*.Example.com:443/", "https://*.example.com"),
        (" http://a:8080 ", "http://a:8080"),
        ("*", "*"),
        ("null", "null"),
    ] {
        let pattern: OriginPattern = text.parse().unwrap();
        assert_eq!(pattern.to_string(), shown);
        assert_eq!(shown.parse(), Ok(pattern));
    }
}

#[test]
fn pages_and_native_apps_are_told_apart() {
    for page in [
        "null",
        "NULL",
        "http://a",
        "https://a:1",
        "HTTPS://A",
        "https://a, https://b",
        "https://a/b",
        "https:a",
        "http://[",
    ] {
        assert!(WebOrigin::parse(page.as_bytes()).is_of_a_page(), "{page}");
    }
    for app in [
        "",
        "file://",
        "capacitor://localhost",
        "weapp://wechat-game-runtime",
        "ionic://localhost",
        "my app",
    ] {
        assert!(!WebOrigin::parse(app.as_bytes()).is_of_a_page(), "{app}");
    }
    assert!(!WebOrigin::parse(b"\xff").is_of_a_page());
}

#[test]
fn the_own_host_is_told_by_the_host_header() {
    for (origin, host) in [
        ("https://chat.example.com", "chat.example.com"),
        ("https://chat.example.com", "chat.example.com:443"),
        ("https://chat.example.com", "Chat.Example.com:80"),
        ("http://chat.example.com", "chat.example.com"),
        ("http://localhost:8080", "localhost:8080"),
        ("https://localhost:8080", "localhost:8080"),
        ("http://[::1]:8080", "[::1]:8080"),
    ] {
        assert!(WebOrigin::parse(origin.as_bytes()).is_at(host), "{origin} {host}");
    }
    for (origin, host) in [
        ("https://chat.example.com", "gateway:8080"),
        ("https://chat.example.com", "example.com"),
        ("https://chat.example.com:8443", "chat.example.com"),
        ("http://localhost:3000", "localhost:8080"),
        ("http://localhost:3000", ""),
        ("http://localhost", "localhost:x"),
        ("null", "null"),
        ("file://", ""),
        ("capacitor://localhost", "localhost"),
    ] {
        assert!(
            !WebOrigin::parse(origin.as_bytes()).is_at(host),
            "{origin} {host}"
        );
    }
}
