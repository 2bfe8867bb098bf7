//! Listeners of all kinds: what is told of them, and the certificates of those that speak TLS.

use super::*;

use crate::support::process::find;
use std::os::unix::fs::PermissionsExt as _;

const TLS: &str = "tls = { certificate = \"proxy.pem\", key = \"proxy.key\" }";

/// Writes the chain of a listener, and its key for nobody else.
fn install(user: &User, root: &Ca) {
    let chain = Leaf::named(HOST).ip([127, 0, 0, 1].into()).signed_by(root);
    user.file("proxy.pem", &chain.pem());
    let key = user.file("proxy.key", &chain.key.private_pem());
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).expect("the mode is set");
}

fn listeners(lines: &[&str]) -> String {
    let tables: Vec<_> =
        lines.iter().map(|lines| format!("[[listener]]\naddress = \"127.0.0.1:0\"\n{lines}\n")).collect();
    tables.concat()
}

#[tokio::test]
async fn each_is_told_by_its_kind_and_the_first_forward_one_is_pasted() {
    let (user, root) = (User::new(), Ca::root("root"));
    install(&user, &root);
    let toml =
        listeners(&["kind = \"socks5\"", &format!("kind = \"socks5\"\n{TLS}"), "kind = \"transparent\"", TLS, ""]);
    let path = user.file("pinproxy.toml", &toml);
    let program = Program::start_anywhere(user.pinproxy(["run", "--config"]).arg(path)).await;
    let told: Vec<_> =
        program.greeting.lines().filter_map(|line| line.trim_start().strip_prefix("listening")).collect();
    let kinds: Vec<_> = told.iter().map(|told| told.split_once(" (").map_or("", |(_, kind)| kind)).collect();
    assert_eq!(kinds, ["socks5)", "socks5 by TLS)", "transparent)", "by TLS)", ""]);
    let forward = told[3].trim().trim_end_matches(" (by TLS)");
    assert!(program.paste().contains(&format!("https_proxy=https://{forward} ")), "{}", program.greeting);
    program.stop().await;
}

/// Sockets of a service manager are what the file says of their addresses.
#[tokio::test]
async fn a_socket_that_is_handed_over_is_what_the_file_says_of_its_address() {
    let user = User::new();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let toml = format!("[[listener]]\naddress = \"{address}\"\nkind = \"socks5\"\n");
    let path = user.file("pinproxy.toml", &toml);
    let mut running = user.run_on(&socket, &path).start();
    let greeting = running.out.until("pinsets ").await;
    assert!(greeting.contains(&format!("listening   {address} (socks5)\n")), "{greeting}");
    running.signal("TERM").await;
    running.ended().await.with_code(0);
}

/// Clients that are to come in by TLS, or from behind a load balancer, find no door that is open to all.
#[tokio::test]
async fn an_address_of_which_the_file_says_nothing_is_no_plain_listener() {
    let user = User::new();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let path = user
        .file("pinproxy.toml", "[[listener]]\naddress = \"127.0.0.1:8443\"\nproxy_protocol_from = [\"127.0.0.2\"]\n");
    let says = format!("write a [[listener]] with address = \"{address}\"");
    user.run_on(&socket, &path).run().await.with_code(2).says(&[&says]);
    let listen = ["run", "--listen", &address.to_string(), "--config"].map(str::to_owned);
    user.pinproxy(listen).arg(&path).run().await.with_code(2).says(&[&says]);
}

#[tokio::test]
async fn a_certificate_is_renewed_by_a_reload_and_a_broken_one_is_not_taken() {
    let Some(program) = find("openssl") else { return };
    let (user, old, new) = (User::new(), Ca::root("Old authority"), Ca::root("New authority"));
    install(&user, &old);
    let path = user.file("pinproxy.toml", &listeners(&[TLS]));
    let mut running = Program::start_anywhere(user.pinproxy(["run", "--config"]).arg(path)).await;
    let address = running.greeting.lines().find_map(|line| line.trim_start().strip_prefix("listening")).unwrap();
    let address = address.trim().trim_end_matches(" (by TLS)").to_owned();
    let issuer = async || {
        let shown = process::command(&program, user.folder()).args(["s_client", "-connect", &address]).run().await;
        shown.out.lines().find_map(|line| line.strip_prefix("issuer=")).unwrap_or_default().to_owned()
    };
    assert!(issuer().await.contains("Old authority"));
    user.file("proxy.pem", "no PEM");
    running.running.signal("HUP").await;
    running.running.err.until("proxy.pem holds no certificate in PEM for [[listener]] tls").await;
    assert!(issuer().await.contains("Old authority"));
    install(&user, &new);
    running.running.signal("HUP").await;
    running.running.err.until("generation 3 with").await;
    assert!(issuer().await.contains("New authority"));
    running.stop().await;
}

#[tokio::test]
async fn files_that_cannot_be_used_keep_it_from_starting() {
    let (user, root) = (User::new(), Ca::root("root"));
    let path = user.file("pinproxy.toml", &listeners(&[TLS]));
    // `config check` says the same, at the place where the file is named.
    let fails = async |says: &str| {
        user.pinproxy(["run", "--config"]).arg(&path).run().await.with_code(3).says(&[says]);
        let checked = user.pinproxy(["config", "check"]).arg(&path).run().await.with_code(1);
        let told = format!("{}{}", checked.out, checked.err);
        assert!(told.contains(says) && told.contains("error[E90]") && told.contains("pinproxy.toml:3:"), "{checked}");
    };
    fails("proxy.pem for [[listener]] tls: No such file").await;
    install(&user, &root);
    let key = user.folder().join("proxy.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    fails("proxy.key holds the key of [[listener]] tls, and others can read it (mode 0644)").await;
    install(&user, &root);
    user.file("proxy.pem", &Leaf::named(HOST).signed_by(&root).pem());
    fails("of [[listener]] tls cannot be used").await;
}
