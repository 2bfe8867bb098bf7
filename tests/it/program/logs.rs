//! The log as JSON, against config/FIELDS.md.

use super::*;

use crate::fields::{assert_documented, documented};
use crate::support::client::RawClient;

#[tokio::test]
async fn lines_of_json_are_as_they_are_documented() {
    let user = User::new();
    let config = user.file("pinproxy.toml", "[log]\nformat = \"json\"");
    let mut program = Program::start(user.run(Some(&config))).await;
    let mut client = RawClient::connect(program.address).await.unwrap();
    client.send(b"CONNECT \x1b\x01 HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(client.read_reply().await.unwrap().status, 400);
    program.running.err.until("\"target\":\"session\"").await;
    let told = program.stop().await.err;
    // What a terminal is told of the configuration before there is a log comes first.
    let lines: Vec<_> = told.lines().filter(|line| line.starts_with('{')).collect();
    assert!(lines.len() >= 3, "{told}");
    assert_documented(&lines, &documented("Log lines as JSON"));
    for line in lines {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let fields = line["fields"].as_object().unwrap();
        assert_eq!(fields.keys().collect::<Vec<_>>(), ["message"], "{line}");
        assert!(["ERROR", "WARN", "INFO"].contains(&line["level"].as_str().unwrap()), "{line}");
    }
}
