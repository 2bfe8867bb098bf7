//! The line to paste, in a shell, with a client behind it.

use super::*;

/// A shell that takes the pasted line and then fetches.
async fn fetch(user: &User, program: &Program, options: &str, url: &str) -> process::Finished {
    let shell = process::find("sh").expect("every Unix has sh");
    let script = format!("eval \"$PASTE\"\ncurl -sS {options} \"$URL\"");
    let start = process::command(&shell, user.folder()).env("PASTE", program.paste()).env("URL", url);
    start.args(["-e", "-u", "-c", &script]).run().await
}

#[tokio::test]
async fn a_client_behind_it_is_intercepted_without_pins_and_with_them() {
    if process::find("curl").is_none() {
        return;
    }
    let site = Site::start(Behaviour::Http1).await;
    for pins in ["", &pinset(&site.chain.pin())] {
        let user = User::new();
        let program = Program::start(user.run(Some(&site.trusted_by(&user, pins)))).await;
        let done = fetch(&user, &program, "-v", &site.url("/balance")).await.with_code(0);
        assert_eq!(done.out, format!("GET /balance {HOST}:{}\n", site.origin.port()), "{done}");
        done.says(&["issuer: O=pinproxy; CN=pinproxy local CA "]);
        let ended = program.stop().await;
        let target = format!("{HOST}:{}", site.origin.port());
        ended.says(&[&format!("allow {target}")]);
    }
}

#[tokio::test]
async fn a_client_behind_it_is_refused_for_its_pin() {
    if process::find("curl").is_none() {
        return;
    }
    let site = Site::start(Behaviour::Http1).await;
    let user = User::new();
    let config = site.trusted_by(&user, &pinset(&Key::p256().pin()));
    let program = Program::start(user.run(Some(&config))).await;
    let done = fetch(&user, &program, "-v", &site.url("/")).await.with_code(56);
    done.says(&["< HTTP/1.1 502 Certificate pin mismatch for localhost (pinset site)\r\n"]);
    let ended = program.stop().await;
    ended.says(&["WARN", &format!("refuse {HOST}:{} pinset=site class=pin", site.origin.port()), &site.chain.pin()]);
}

#[tokio::test]
async fn without_configuration_the_upstream_has_to_be_trusted_by_the_system() {
    if process::find("curl").is_none() {
        return;
    }
    let site = Site::start(Behaviour::Http1).await;
    let user = User::new();
    let program = Program::start(user.run(None)).await;
    let done = fetch(&user, &program, "-v", &site.url("/")).await.with_code(56);
    done.says(&["< HTTP/1.1 502 Certificate chain of localhost is not trusted\r\n"]);
    program.stop().await;
}
