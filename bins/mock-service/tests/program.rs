//! The program itself: what it prints, and how it ends.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mock-service"));
    command.env_remove("MOCK_SERVICE_KEY");
    command
}

#[test]
fn it_says_where_each_service_listens_and_ends_with_0_on_a_signal() {
    for signal in ["INT", "TERM"] {
        let mut child = program()
            .args(["--base-port", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines: Vec<String> = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .take(5)
            .map(Result::unwrap)
            .collect();
        for (line, name) in lines.iter().zip(["user", "message", "friend", "group", "push"]) {
            let address = line
                .strip_prefix(&format!("{name} service listening on "))
                .unwrap();
            std::net::TcpStream::connect(address).unwrap();
        }
        let killed = Command::new("kill")
            .args([format!("-{signal}"), child.id().to_string()])
            .status();
        assert!(killed.unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}");
    }
}

#[test]
fn a_port_that_is_taken_is_said_in_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = program()
        .args(["--services", "user", "--base-port", &port])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("mock-service: cannot listen on 127.0.0.1:"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}
