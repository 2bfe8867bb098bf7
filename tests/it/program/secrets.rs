//! What environment variables hold does not come out of a probe, in whatever form it is known there.

use super::*;

/// Another form of `localhost`, so that the value itself is found nowhere.
const VALUE: &str = "LOCALHOST.";

/// What a probe says of the site behind `${HOST_OF_SITE}`, in each form.
async fn told(user: &User, site: &Site, pins: &str, code: i32) -> [String; 3] {
    let port = site.origin.port();
    let path = site
        .trusted_by(user, &format!("[[pinset]]\nname = \"site\"\nhosts = [\"${{HOST_OF_SITE}}:{port}\"]\n{pins}\n"));
    let mut outputs = [const { String::new() }; 3];
    for (output, form) in outputs.iter_mut().zip([&[][..], &["--json"], &["--sarif"]]) {
        let start = user.pinproxy(["config", "check", "--probe"]).args(form).arg(&path);
        let start = start.env("HOST_OF_SITE", VALUE).env("PIN_OF_SITE", as_header(&site.chain.pin()));
        let ended = start.run().await.with_code(code);
        assert!(!ended.out.to_lowercase().contains("localhost"), "{ended}");
        assert!(ended.out.contains(&format!("${{HOST_OF_SITE}}:{port}")), "{ended}");
        *output = ended.out;
    }
    outputs
}

/// A pin in a form that is not the one in which pins are told.
fn as_header(pin: &str) -> String {
    format!("pin-sha256=\"{}\"", pin.trim_start_matches("sha256/"))
}

#[tokio::test]
async fn hosts_and_pins_that_variables_name() {
    let user = User::new();
    let site = Site::start(Behaviour::Echo).await;
    let (leaf, root, spare) = (site.chain.pin(), site.root.pin(), Key::p256().pin());
    let [text, json, _] = told(&user, &site, &format!("pins = [\"{leaf}\"]\nbackup = [\"{spare}\"]"), 0).await;
    let line = text.lines().next().expect("a line");
    let host = format!("${{HOST_OF_SITE}}:{}", site.origin.port());
    assert!(line.starts_with(&format!("{host} (pinset site): not told, for it would")), "{text}");
    assert!(line.ends_with(&format!("{leaf} matches at position 0 of path 1 of 1")), "{text}");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let seen = &json["probed"][0];
    assert_eq!((&seen["host"], &seen["address"]), (&host.into(), &serde_json::Value::Null), "{json}");

    // A pin that a variable holds, too.
    let pins = format!("pins = [\"${{PIN_OF_SITE}}\"]\nbackup = [\"{spare}\"]");
    let outputs = told(&user, &site, &pins, 0).await;
    assert!(outputs.iter().all(|output| !output.contains(leaf.trim_start_matches("sha256/"))), "{outputs:?}");
    let [text, ..] = outputs;
    assert!(text.contains("; ${PIN_OF_SITE} matches at position 0 of path 1 of 1"), "{text}");
    // Findings about a pin speak of the host, and findings about the host of what it shows.
    let in_use = format!("pins = [\"{leaf}\"]\nbackup = [\"{root}\"]");
    told(&user, &site, &in_use, 1).await;
    let wrong = format!("pins = [\"{spare}\"]\nbackup = [\"{}\"]", Key::p256().pin());
    told(&user, &site, &wrong, 1).await;
}

#[tokio::test]
async fn hosts_that_variables_name_and_nobody_sees() {
    let user = User::new();
    let plain = Site::start(Behaviour::PlainText(b"220 ready\r\n".to_vec())).await;
    let spare = Key::p256().pin();
    let pins = format!("pins = [\"{}\"]\nbackup = [\"{spare}\"]", plain.chain.pin());
    let [text, ..] = told(&user, &plain, &pins, 3).await;
    assert!(text.contains(": not seen: the upstream does not speak TLS"), "{text}");
    let denied = format!("{pins}\n[access]\nclients = [\"127.0.0.1\"]\ndestinations_deny = [\"loopback\"]");
    let [text, ..] = told(&user, &plain, &denied, 0).await;
    assert!(text.contains("forbidden: "), "{text}");
    let wide = format!("[[pinset]]\nname = \"site\"\nhosts = [\"**.${{HOST_OF_SITE}}\"]\n{pins}\n");
    let path = plain.trusted_by(&user, &wide);
    let start = user.pinproxy(["config", "check", "--probe"]).arg(&path).env("HOST_OF_SITE", "PLANT.example.");
    let ended = start.run().await.with_code(0);
    assert!(ended.out.contains("**.${HOST_OF_SITE} (pinset site): skipped: a wildcard names no host"), "{ended}");
    assert!(!ended.out.to_lowercase().contains("plant"), "{ended}");
}

/// Addresses are told in a form that need not have a piece in common with what was written.
#[tokio::test]
async fn addresses_that_variables_name() {
    let user = User::new();
    let pins = format!("pins = [\"{}\"]\nbackup = [\"{}\"]", Key::p256().pin(), Key::p256().pin());
    for (value, hosts, told) in [
        ("0:0:0:0:0:0:0:1", "[${ADDRESS}]:9", "::1"),
        ("[2001:0db8:0000::0015]", "${ADDRESS}:9", "2001:db8::15"),
        ("::ffff:192.0.2.1", "[${ADDRESS}]", "192.0.2.1"),
        ("[2001:0db8:0:0::16]:9", "${ADDRESS}", "2001:db8::16"),
    ] {
        let text = format!("[[pinset]]\nname = \"site\"\nhosts = [\"{hosts}\"]\n{pins}\n");
        let path = user.file("pinproxy.toml", &text);
        for form in [&[][..], &["--json"], &["--sarif"]] {
            let start = user.pinproxy(["config", "check"]).args(form).arg(&path).env("ADDRESS", value);
            let ended = start.run().await.with_code(0);
            assert!(ended.out.contains("W28") && !ended.out.contains(told), "{value}: {ended}");
        }
    }
}
