//! SIGHUP: a file that can be used takes effect whole, any other changes nothing.

use super::*;

use crate::support::client::RawClient;
use crate::support::pki::Validity;

/// What a client is told that asks for the site.
pub(super) async fn reply(program: &Program, site: &Site) -> (u16, String) {
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
    user.file("ended.pem", &Ca::builder("Ended").validity(Validity::expired()).self_signed().pem());
    user.file("empty.pem", "");
    let bad: [(&[u8], &str); 10] = [
        (b"[[pinset", "error[E17]"),
        (b"x = \"\0\"", "the file contains a NUL byte"),
        (b"# \xff", "the file is not UTF-8 text"),
        (b"lisener = 1", "unknown key \"lisener\""),
        (huge.as_bytes(), "the file is larger than 16 MiB"),
        (b"include = [\"none.toml\"]", "none.toml"),
        (b"[upstream]\nroots = \"none.pem\"", "cannot read the trust anchors in"),
        // Each at its place.
        (b"[upstream]\nroots = \"./none.pem\"\ncrls = [\"none.crl\"]", "pinproxy.toml:3:9"),
        (b"[upstream]\nroots = \"./empty.pem\"\nextra_roots = [\"empty.pem\"]", "pinproxy.toml:3:16"),
        // A start goes on with that; a running proxy has something better.
        (b"[upstream]\nroots = \"ended.pem\"", "every trust anchor here has ended, the last on"),
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

/// What the running configuration suffers from already is no reason to keep a revocation out that stands in the same file.
#[tokio::test]
async fn a_fault_that_is_in_force_already_keeps_no_blocked_key_out() {
    let user = User::new();
    let root = Ca::root("A private CA");
    let issuing = root.intermediate("An issuing CA");
    let chain = Leaf::named(HOST).signed_by(&issuing);
    let origin = Origin::start(OriginConfig::new(chain.clone()).behaviour(Behaviour::Echo)).await;
    let site = Site { root, chain, origin };
    user.file("root.pem", &site.root.pem());
    user.file("ended.pem", &Ca::builder("Ended").validity(Validity::expired()).self_signed().pem());
    let own = pinset(&site.chain.pin()).replace("leaf_pins", "roots = \"./root.pem\"\nleaf_pins");
    let dead = format!("[upstream]\nroots = \"./ended.pem\"\n{own}");
    let path = user.file("pinproxy.toml", &dead);
    let mut program = Program::start(user.run(Some(&path))).await;
    program.running.err.until("error[E65]: every trust anchor here has ended").await;
    let established = (200, "Connection established".to_owned());
    assert_eq!(reply(&program, &site).await, established);

    // A new fault beside the old one: what runs is better.
    let blocked = format!("[[blocklist]]\nname = \"lost\"\nreason = \"stolen\"\nspki = [\"{}\"]\n", issuing.pin());
    user.file("gone.pem", &Ca::builder("Gone").validity(Validity::expired()).self_signed().pem());
    std::fs::write(&path, format!("{dead}{blocked}").replace("root.pem", "gone.pem")).unwrap();
    program.running.signal("HUP").await;
    let told = program.running.err.until("reload refused, generation 1 stays in force: ").await;
    let told = told + &program.running.err.until("2 errors").await;
    assert!(told.contains("it has errors that the configuration in force has not"), "{told}");
    assert!(told.contains("pinproxy.toml:2:9") && told.contains("pinproxy.toml:6:9"), "{told}");
    assert_eq!(reply(&program, &site).await, established);

    std::fs::write(&path, format!("{dead}{blocked}")).unwrap();
    program.running.signal("HUP").await;
    program.running.err.until("pinproxy.toml:2:9: E65: every trust anchor here has ended").await;
    program.running.err.until("generation 2 with 1 rules is in force").await;
    let refused = (502, format!("Blocked key in the certificate chain of {HOST}"));
    assert_eq!(reply(&program, &site).await, refused);

    // Once it is put right, it does not come back unseen.
    std::fs::write(&path, format!("{own}{blocked}")).unwrap();
    program.running.signal("HUP").await;
    program.running.err.until("generation 3 with 1 rules is in force").await;
    std::fs::write(&path, format!("{dead}{blocked}")).unwrap();
    program.running.signal("HUP").await;
    program.running.err.until("reload refused, generation 3 stays in force: ").await;
    assert_eq!(reply(&program, &site).await, refused);
    program.stop().await;
}

/// Half a file may be a valid one, and so may be one whose includes were moved away.
#[tokio::test]
async fn a_reload_that_loses_a_third_of_the_pins_is_refused() {
    let user = User::new();
    let sets = |names: &[&str]| -> String {
        let set =
            |name: &&str| pinset(&Key::p256().pin()).replace("site", name).replace(HOST, &format!("{name}.example"));
        names.iter().map(set).collect()
    };
    let path = user.file("pinproxy.toml", &sets(&["a", "b", "c", "d"]));
    let mut program = Program::start(user.run(Some(&path))).await;
    let refused = [
        (
            String::new(),
            "4 of 4 pinned host patterns would lose protection: 4 without a rule (a.example, b.example, c.example, d.example)",
        ),
        (
            sets(&["a", "b"]),
            "2 of 4 pinned host patterns would lose protection: 2 without a rule (c.example, d.example)",
        ),
        (
            sets(&["a", "b"]) + &sets(&["x"]),
            "2 of 4 pinned host patterns would lose protection: 2 without a rule (c.example, d.example)",
        ),
        (
            sets(&["a", "b", "c", "d"]) + "[defaults]\nmode = \"off\"\n",
            "4 of 4 pinned host patterns would lose protection: 4 with pins that are not judged (a.example, b.example, c.example, d.example)",
        ),
        (
            sets(&["a", "b", "c", "d"]).replace("leaf_pins", "mode = \"report-only\"\nleaf_pins"),
            "4 of 4 pinned host patterns would lose protection: 4 report-only (a.example, b.example, c.example, d.example)",
        ),
        (
            sets(&["w"]).replace("w.example", "**.example")
                + "[[exempt]]\nhosts = [\"a.example\", \"b.example\", \"c.example\"]\nreason = \"CHG-1\"\nuntil = 2099-01-01T00:00:00Z\n",
            "3 of 4 pinned host patterns would lose protection: 3 exempt (a.example, b.example, c.example)",
        ),
    ];
    let mut count = 0;
    for (text, says) in refused {
        count += 1;
        std::fs::write(&path, text).unwrap();
        program.running.signal("HUP").await;
        let told = program.running.err.until_times("stays in force: ", count).await;
        assert!(told.lines().last().unwrap().contains(says), "{told}");
    }
    // One in four, and one that is held by a wider pattern.
    std::fs::write(&path, sets(&["a", "b"]) + &sets(&["w"]).replace("w.example", "*.c.example\", \"**.d.example"))
        .unwrap();
    program.running.signal("HUP").await;
    let told = program.running.err.until("generation 2 with 3 rules is in force").await;
    assert_eq!(told.matches("reload refused, generation 1 stays in force: ").count(), 6, "{told}");
    program.stop().await;
}

/// A pipe that nobody writes to must not keep later reloads from happening.
#[tokio::test]
async fn a_pipe_in_the_place_of_a_file_is_refused_at_once() {
    let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
    let path = site.trusted_by(&user, &pinset(&site.chain.pin()));
    let mut program = Program::start(user.run(Some(&path))).await;
    let good = std::fs::read(&path).unwrap();
    let roots = user.folder().join("private ca.pem");
    let pem = std::fs::read(&roots).unwrap();
    for (file, contents) in [(&path, &good), (&roots, &pem)] {
        std::fs::remove_file(file).unwrap();
        let made = std::process::Command::new("mkfifo").arg(file).status().unwrap();
        assert!(made.success());
        let before = program.running.err.so_far().matches("reload refused").count();
        program.running.signal("HUP").await;
        program.running.err.until_times("it is no regular file", before + 1).await;
        std::fs::remove_file(file).unwrap();
        std::fs::write(file, contents).unwrap();
    }
    program.running.signal("HUP").await;
    program.running.err.until("generation 2 with 1 rules is in force").await;
    program.stop().await;
}

/// Sessions that take their time with the old generation do not hold up the next reload.
#[tokio::test]
async fn a_client_that_says_nothing_holds_up_no_reload() {
    let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
    let patient = format!("{}[limits]\nclient_hello_timeout = \"5m\"\n", pinset(&site.chain.pin()));
    let mut program = Program::start(user.run(Some(&site.trusted_by(&user, &patient)))).await;
    let mut silent = RawClient::connect(program.address).await.expect("the proxy listens");
    let target = format!("{HOST}:{}", site.origin.port());
    assert_eq!(silent.connect_to(&target).await.expect("a reply").status, 200);
    for generation in 2..5 {
        program.running.signal("HUP").await;
        program.running.err.until(&format!("generation {generation} with 1 rules is in force")).await;
    }
    drop(silent);
    program.stop().await;
}

/// The start waits for the folder of the CA, which another process has.
#[tokio::test]
async fn a_signal_during_the_start_is_a_reload_behind_it() {
    let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
    let more = format!("{}[keys.spare]\nspki = \"{}\"\n", pinset(&site.chain.pin()), Key::p256().pin());
    std::fs::create_dir_all(user.ca()).unwrap();
    std::fs::set_permissions(user.ca(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let folder = std::fs::File::open(user.ca()).unwrap();
    folder.lock().unwrap();
    let mut running = user.run(Some(&site.trusted_by(&user, &more))).start();
    running.err.until("nothing uses the key \"spare\"").await;
    running.signal("HUP").await;
    drop(folder);
    running.out.until("listening").await;
    running.err.until("generation 2 with 1 rules is in force").await;
    running.signal("TERM").await;
    assert_eq!(running.ended().await.code, Some(0));
}

#[tokio::test]
async fn without_a_file_there_is_nothing_to_reload() {
    let user = User::new();
    let mut program = Program::start(user.run(None)).await;
    program.running.signal("HUP").await;
    program.running.err.until("nothing to reload: this proxy was started without a configuration file").await;
    program.stop().await;
}

/// What passes that was refused is told without being asked for; what is refused that passed is not news of that kind.
#[tokio::test]
async fn what_becomes_looser_is_told() {
    let (user, site) = (User::new(), Site::start(Behaviour::Echo).await);
    // Others beside it: of all that is pinned, little loses protection.
    let others = ["a", "b", "c"].map(|name| {
        pinset(&Key::p256().pin()).replace("\"site\"", &format!("\"{name}\"")).replace(HOST, &format!("{name}.example"))
    });
    let strict = pinset(&site.chain.pin()) + &others.concat();
    let blocked = format!("[[blocklist]]\nname = \"lost\"\nreason = \"stolen\"\nspki = [\"{}\"]\n", Key::p256().pin());
    let begin = format!("{strict}{blocked}[access]\nports_allow = [{}]\ndestinations_deny = []\n", site.origin.port());
    let path = site.trusted_by(&user, &begin);
    let begin = std::fs::read_to_string(&path).unwrap();
    let mut program = Program::start(user.run(Some(&path))).await;
    let table = [
        (
            begin.replacen("backup", "mode = \"report-only\"\nbackup", 1),
            vec!["localhost: mode enforced -> report-only"],
        ),
        (begin.clone(), vec![]),
        (begin.replace(&blocked, ""), vec!["for every host or those without a rule: blocklist changed"]),
        (begin.clone(), vec![]),
        (
            format!("{begin}[defaults]\nunpinned = \"tunnel\"\n"),
            vec!["for every host or those without a rule: unpinned intercept -> tunnel"],
        ),
        (begin.clone(), vec![]),
        (
            begin.replace("\"private ca.pem\"", "{ file = \"private ca.pem\", exempts_pins = true }"),
            vec!["for every host or those without a rule: exempts_pins changed"],
        ),
        (begin.clone(), vec!["for every host or those without a rule: trust anchors changed"]),
        (
            format!("{begin}clients = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\n"),
            vec!["for every host or those without a rule: [access] - clients ::1/128, + clients 10.0.0.0/8"],
        ),
        // A smaller network, and a port less.
        (format!("{begin}clients = [\"127.0.0.0/8\", \"10.1.0.0/16\"]\n"), vec![]),
        (
            begin.replace("ports_allow = [", "ports_allow = [443, "),
            vec![
                "for every host or those without a rule: [access] - clients 10.1.0.0/16, + clients ::1/128",
                "for every host or those without a rule: [access] + ports_allow 443",
            ],
        ),
        (begin.clone(), vec![]),
    ];
    let mut generation = 0;
    for (text, expected) in table {
        std::fs::write(&path, &text).unwrap();
        // What is told of the first reload is told before the second one begins.
        generation += 2;
        for number in [generation, generation + 1] {
            program.running.signal("HUP").await;
            program.running.err.until(&format!("generation {number} with 4 rules is in force")).await;
        }
        let told = program.running.err.so_far();
        let line = format!("generation {generation} lets more through than the last one: ");
        let lines: Vec<_> = told.lines().filter_map(|told| Some(told.split_once(&line)?.1)).collect();
        assert_eq!(lines, expected, "{text}");
    }
    program.stop().await;
}
