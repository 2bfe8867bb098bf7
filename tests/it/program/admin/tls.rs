//! TLS at the admin address, asked by curl.

use super::*;

use crate::support::process::{Finished, command, find};
use rcgen::ExtendedKeyUsagePurpose;
use std::os::unix::fs::PermissionsExt as _;

/// Writes the chain of a server, and its key for nobody else.
fn install(user: &User, chain: &Chain) {
    user.file("admin.pem", &chain.pem());
    let key = user.file("admin.key", &chain.key.private_pem());
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).expect("the mode is set");
}

fn server(root: &Ca) -> Chain {
    Leaf::named("localhost").ip([127, 0, 0, 1].into()).signed_by(root)
}

fn client(user: &User, name: &str, root: &Ca) {
    let chain = Leaf::named("prometheus").extended_key_usages(&[ExtendedKeyUsagePurpose::ClientAuth]).signed_by(root);
    user.file(&format!("{name}.pem"), &chain.pem());
    user.file(&format!("{name}.key"), &chain.key.private_pem());
}

/// Arguments of curl, and the status that they lead to.
type Asked<'a> = (&'a [&'a str], &'a str);

const FILES: &str = "certificate = \"admin.pem\", key = \"admin.key\"";

/// Starts it, and gives its URL.
async fn started(user: &User, admin: &str) -> (Program, String) {
    let path = user.file("pinproxy.toml", &format!("[admin]\naddress = \"127.0.0.1:0\"\n{admin}\n"));
    let program = Program::start(user.run(Some(&path)).env("TOKEN", TOKEN)).await;
    let url = value(&program.greeting, "admin").to_owned();
    assert!(url.starts_with("https://"), "{url}");
    (program, url)
}

async fn curl(user: &User, program: &Path, url: &str, arguments: &[&str]) -> Finished {
    let start = command(program, user.folder()).folder(user.folder());
    let always = ["-sS", "--max-time", "10", "--cacert", "root.pem", "-o", "body", "-w", "%{http_code}", url];
    start.args(always).args(arguments).run().await
}

#[tokio::test]
async fn clients_show_a_certificate_or_learn_one_word() {
    let Some(program) = find("curl") else { return };
    let (user, root, monitoring) = (User::new(), Ca::root("A server CA"), Ca::root("A monitoring CA"));
    user.file("root.pem", &root.pem());
    user.file("monitoring.pem", &monitoring.pem());
    install(&user, &server(&root));
    client(&user, "good", &monitoring);
    client(&user, "foreign", &Ca::root("A monitoring CA"));
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let good: &[&str] = &["--cert", "good.pem", "--key", "good.key"];
    let foreign: &[&str] = &["--cert", "foreign.pem", "--key", "foreign.key"];
    let token: &[&str] = &["-H", &bearer];
    let both = [good, token].concat();
    let mutual = format!("tls = {{ {FILES}, client_ca = \"monitoring.pem\" }}");
    let table: [(String, &[Asked<'_>]); 3] = [
        (mutual.clone(), &[(&[], "403"), (token, "403"), (foreign, "000"), (good, "200")]),
        (format!("token = \"${{TOKEN}}\"\n{mutual}"), &[(&[], "403"), (token, "403"), (good, "401"), (&both, "200")]),
        (format!("token = \"${{TOKEN}}\"\ntls = {{ {FILES} }}"), &[(&[], "401"), (good, "401"), (token, "200")]),
    ];
    for (admin, asked) in table {
        let (running, url) = started(&user, &admin).await;
        for (arguments, status) in asked {
            let done = curl(&user, &program, &format!("{url}/metrics"), arguments).await;
            assert_eq!(done.out, *status, "{admin} {arguments:?}: {done}");
        }
        // A kubelet has nothing to show.
        assert_eq!(curl(&user, &program, &format!("{url}/readyz"), &[]).await.out, "200");
        let address = url.trim_start_matches("https://");
        let here = user.file("here.toml", &format!("[admin]\naddress = \"{address}\"\n{admin}\n"));
        let check = |path: &Path| user.pinproxy(["healthcheck", "--config"]).arg(path).env("TOKEN", TOKEN).run();
        assert_eq!(check(&here).await.with_code(0).out, "ready\n");
        // Another certificate is another server.
        user.file("other.pem", &server(&root).pem());
        let other = user.file("other.toml", &std::fs::read_to_string(&here).unwrap().replace("admin.pem", "other.pem"));
        check(&other).await.with_code(3).says(&["does not answer: "]);
        let clear = RawClient::connect(address.parse().unwrap()).await.unwrap().connect_to("x:1").await;
        assert!(clear.is_err(), "no HTTP in the clear: {clear:?}");
        running.stop().await;
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_keep_it_from_starting() {
    let (user, root) = (User::new(), Ca::root("root"));
    let key = user.folder().join("admin.key");
    let toml = format!("[admin]\naddress = \"127.0.0.1:0\"\ntls = {{ {FILES}, client_ca = \"ca.pem\" }}\n");
    let path = user.file("pinproxy.toml", &toml);
    // `config check` says the same, at the place where the file is named.
    let fails = async |place: usize, says: &[&str]| {
        user.run(Some(&path)).run().await.with_code(3).says(says);
        let checked = user.pinproxy(["config", "check"]).arg(&path).run().await.with_code(1);
        let told = format!("{}{}", checked.out, checked.err);
        let place = format!("pinproxy.toml:3:{place}");
        for part in says.iter().copied().chain(["error[E82]", &place]) {
            assert!(told.contains(part), "{part:?} is missing in {checked}");
        }
    };
    let [certificate_at, key_at, authorities_at] = ["\"admin.pem\"", "\"admin.key\"", "\"ca.pem\""]
        .map(|name| toml.lines().nth(2).unwrap().find(name).unwrap() + 1);
    user.file("ca.pem", &root.pem());
    fails(certificate_at, &["cannot read ", "admin.pem for [admin] tls: No such file"]).await;
    install(&user, &server(&root));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    fails(key_at, &["admin.key holds the key of [admin] tls, and others can read it (mode 0640); chmod 600 it"]).await;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    user.file("admin.pem", "no PEM");
    fails(certificate_at, &["admin.pem holds no certificate in PEM"]).await;
    user.file("admin.pem", &server(&root).pem());
    fails(certificate_at, &["admin.pem and the key ", "cannot be used: "]).await;
    install(&user, &server(&root));
    user.file("ca.pem", "");
    fails(authorities_at, &["ca.pem holds no certificate in PEM"]).await;
    user.file("ca.pem", &root.pem());
    user.file("admin.key", "");
    fails(key_at, &["admin.key holds no private key in PEM"]).await;
    install(&user, &server(&root));
    user.pinproxy(["config", "check"]).arg(&path).run().await.with_code(0);
    // A text with a mistake has those of its files told beside it.
    user.file("admin.key", "");
    let path = user.file("wrong.toml", &format!("{toml}[limits]\nsessions = 0\n"));
    let checked = user.pinproxy(["config", "check"]).arg(&path).run().await;
    let told = format!("{}{}", checked.out, checked.err);
    assert!(told.contains("error[E82]") && told.contains("wrong.toml:5:"), "{checked}");
}

/// They have not even begun with TLS.
#[tokio::test]
async fn silence_on_all_places_keeps_no_probe_out() {
    let (user, root) = (User::new(), Ca::root("A server CA"));
    install(&user, &server(&root));
    let admin = format!("tls = {{ {FILES} }}\ntoken = \"${{TOKEN}}\"");
    let (running, url) = started(&user, &admin).await;
    let address = url.trim_start_matches("https://");
    let here = user.file("here.toml", &format!("[admin]\naddress = \"{address}\"\n{admin}\n"));
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(RawClient::connect(address.parse().unwrap()).await.unwrap());
    }
    let probe = user.pinproxy(["healthcheck", "--config"]).arg(&here).env("TOKEN", TOKEN).run();
    let probed = tokio::time::timeout(PROBE_TIMEOUT, probe).await.expect("an answer in time");
    assert_eq!(probed.with_code(0).out, "ready\n");
    running.stop().await;
}

#[tokio::test]
async fn a_certificate_is_watched_with_the_configuration() {
    let Some(program) = find("curl") else { return };
    let (user, first, second) = (User::new(), Ca::root("first"), Ca::root("second"));
    install(&user, &server(&first));
    let toml = format!("watch = true\n[admin]\naddress = \"127.0.0.1:0\"\ntls = {{ {FILES} }}\n");
    let mut running = Program::start(user.run(Some(&user.file("pinproxy.toml", &toml)))).await;
    let url = format!("{}/readyz", value(&running.greeting, "admin"));
    user.file("root.pem", &second.pem());
    assert_eq!(curl(&user, &program, &url, &[]).await.out, "000");
    install(&user, &server(&second));
    running.running.err.until("the files of the configuration have changed").await;
    // The look may have come between the two files; then there is another one.
    let renewed = async { while curl(&user, &program, &url, &[]).await.out != "200" {} };
    within_deadline(renewed).await.expect("the new certificate");
    running.stop().await;
}

#[tokio::test]
async fn a_reload_reads_the_certificate_and_keeps_the_old_one_if_it_must() {
    let Some(program) = find("curl") else { return };
    let (user, first, second) = (User::new(), Ca::root("first"), Ca::root("second"));
    install(&user, &server(&first));
    let (mut running, url) = started(&user, &format!("tls = {{ {FILES} }}")).await;
    let url = format!("{url}/metrics");
    let seen_under = async |root: &Ca| {
        user.file("root.pem", &root.pem());
        curl(&user, &program, &url, &[]).await.out
    };
    assert_eq!((seen_under(&first).await.as_str(), seen_under(&second).await.as_str()), ("200", "000"));

    user.file("admin.pem", &server(&second).pem());
    running.running.signal("HUP").await;
    let told = running.running.err.until("what was in force stays in force").await;
    assert!(told.contains("admin.pem and the key ") && told.contains("of [admin] tls cannot be used"), "{told}");
    running.running.err.until("generation 2 with 0 rules is in force").await;
    assert_eq!((seen_under(&first).await.as_str(), seen_under(&second).await.as_str()), ("200", "000"));

    install(&user, &server(&second));
    running.running.signal("HUP").await;
    running.running.err.until("generation 3 with 0 rules is in force").await;
    assert_eq!((seen_under(&first).await.as_str(), seen_under(&second).await.as_str()), ("000", "200"));
    running.stop().await;
}
