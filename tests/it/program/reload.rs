//! SIGHUP: a file that can be used takes effect whole, any other changes nothing.

use super::*;

use crate::support::client::RawClient;

/// What a client is told that asks for the site.
async fn reply(program: &Program, site: &Site) -> (u16, String) {
    let mut client = RawClient::connect(program.address).await.expect("the proxy listens");
    let reply = client.connect_to(&format!("{HOST}:{}", site.origin.port())).await.expect("a reply");
    (reply.status, reply.reason)
}

#[tokio::test]
async fn a_file_with_mistakes_changes_nothing_and_a_good_one_everything() {
    let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
    let pinned = pinset(&site.chain.pin());
    let path = site.trusted_by(&user, &pinned);
    let good = std::fs::read_to_string(&path).unwrap();
    let mut program = Program::start(user.run(Some(&path))).await;
    let established = (200, "Connection established".to_owned());
    assert_eq!(reply(&program, &site).await, established);

    let huge = format!("{good}# {}\n", "x".repeat(17 << 20));
    let bad: [(&[u8], &str); 7] = [
        (b"[[pinset", "error[E17]"),
        (b"x = \"\0\"", "the file contains a NUL byte"),
        (b"# \xff", "the file is not UTF-8 text"),
        (b"lisener = 1", "unknown key \"lisener\""),
        (huge.as_bytes(), "the file is larger than 16 MiB"),
        (b"include = [\"none.toml\"]", "none.toml"),
        (b"[upstream]\nroots = \"none.pem\"", "cannot read the trust anchors in"),
    ];
    for (text, says) in bad {
        std::fs::write(&path, text).unwrap();
        program.running.signal("HUP").await;
        let told = program.running.err.until(says).await;
        assert!(told.contains("reload refused, generation 1 stays in force: "), "{told}");
        assert_eq!(reply(&program, &site).await, established, "{says}");
    }
    std::fs::remove_file(&path).unwrap();
    program.running.signal("HUP").await;
    program.running.err.until("cannot read the configuration: No such file").await;
    assert_eq!(reply(&program, &site).await, established, "without the file");

    let more = format!("[limits]\nsessions = 7\n[keys.spare]\nspki = \"{}\"\n", Key::p256().pin());
    let other = site.trusted_by(&user, &format!("{}{more}", pinset(&Key::p256().pin())));
    assert_eq!(other, path);
    program.running.signal("HUP").await;
    program.running.err.until("reloaded the configuration: generation 2 with 1 rules is in force").await;
    program.running.err.until("pinproxy.toml:10:7: W11: nothing uses the key \"spare\"").await;
    program.running.err.until("[limits] has changed; that takes effect at the next start").await;
    let refused = (502, format!("Certificate pin mismatch for {HOST} (pinset site)"));
    assert_eq!(reply(&program, &site).await, refused);

    std::fs::write(&path, &good).unwrap();
    program.running.signal("HUP").await;
    program.running.err.until("generation 3 with 1 rules is in force").await;
    assert_eq!(reply(&program, &site).await, established);
    program.stop().await;
}

#[tokio::test]
async fn without_a_file_there_is_nothing_to_reload() {
    let user = User::new();
    let mut program = Program::start(user.run(None)).await;
    program.running.signal("HUP").await;
    program.running.err.until("nothing to reload: this proxy was started without a configuration file").await;
    program.stop().await;
}
