use super::*;

fn pins(lines: &str) -> String {
    let text = pinset(lines);
    [("X1", X1), ("X2", X2), ("R1", R1), ("R3", R3), ("R4", R4), ("K1", K1), ("K2", K2), ("K3", K3), ("K4", K4)]
        .iter()
        .fold(text, |text, (name, pin)| text.replace(&format!("\"{name}\""), &format!("\"{pin}\"")))
}

#[test]
fn enforced_with_one_key() {
    let rollout = "mode = \"report-only\"\n[pinset.rollout]\nenforce_from = 2027-02-08\n";
    let parent = |own: &str| {
        format!("{own}[[pinset]]\nname = \"parent\"\nhosts = [\"**.example\"]\npins = [\"{X2}\", \"{R1}\"]\n")
    };
    let heir = |own: &str| parent(&pins(&format!("{own}\ninherit = true\n")));
    expect(
        Code::E30,
        &[
            (pins("pins = [\"X1\"]"), 1),
            (pins("leaf_pins = [\"K1\"]"), 1),
            (pins("ca_pins = [\"X1\"]\nmode = \"enforce\""), 1),
            (pins(&format!("pins = [\"X1\"]\n{rollout}")), 1),
            (pins("pins = [\"K1\"]\ntrust = \"pin-only\""), 1),
            (pins("leaf_pins = [\"K1\"]\nca_pins = [\"K1\"]\ncombine = \"any\""), 1),
            (pins("pins = [\"X1\"]\ninherit = false"), 1),
            (parent(&pins("pins = [\"X1\"]\n")), 1),
            (pins("pins = [\"X1\"]\nmode = \"report-only\""), 0),
            (pins("pins = [\"X1\"]\nmode = \"off\""), 0),
            (pins("pins = [\"X1\"]") + "\n[defaults]\nmode = \"off\"", 0),
            (pins("pins = [\"X1\"]\nbackup = [\"X2\"]"), 0),
            (pins("pins = [\"X1\", \"X2\"]"), 0),
            (pins("leaf_pins = [\"K1\"]\nca_pins = [\"X2\"]\ncombine = \"all\""), 1),
            (pins("leaf_pins = [\"K1\", \"K3\"]\nca_pins = [\"X2\"]\ncombine = \"all\""), 1),
            (pins("leaf_pins = [\"K1\", \"K3\"]\nca_pins = [\"X2\", \"R3\"]\ncombine = \"all\""), 0),
            (pins("leaf_pins = [\"K1\"]\nca_pins = [\"X2\"]\ncombine = \"any\""), 0),
            (pins("leaf_pins = [\"K1\"]\nca_pins = [\"X2\"]\ncombine = \"all\"\nmode = \"report-only\""), 0),
            (heir("pins = [\"X1\"]"), 0),
            // What is wrong with the pins or the parent has been said, and may be all that is.
            (pins("pins = [\"X1\", \"sha256/AAAA\"]"), 0),
            (pins("pins = [\"X1\"]\nbackup = [\"nobody\"]"), 0),
            (pins("pins = [\"X1\", \"X1\"]"), 0),
            (pins("pins = [\"X1\"]\nbackup = [\"X1\"]"), 0),
            (pins("pins = [\"X1\"]\nbackup = \"X2\""), 0),
            (pins("pins = [\"X1\"]\ninherit = true"), 0),
            (pins("pins = [\"X1\"]\nmode = \"enforced\""), 0),
        ],
    );
    let one = &told(&pins("pins = [\"X1\"]"))[0];
    assert_eq!(one.position(), Some((4, 8)));
    assert!(one.help().contains("report-only"));
    assert!(!told(&pins("pins = [\"K1\"]\ntrust = \"pin-only\""))[0].help().contains("report-only"));
}

/// Pins that a parent adds count, but for a parent of which something is wrong.
#[test]
fn one_key_beside_those_of_a_parent() {
    let heir = format!("[[pinset]]\nname = \"heir\"\nhosts = [\"a.b.example\"]\npins = [\"{X1}\"]\ninherit = true\n");
    let parent =
        |pins: &str| format!("{heir}[[pinset]]\nname = \"parent\"\nhosts = [\"**.b.example\"]\npins = [{pins}]\n");
    let soft = |pins: &str| parent(pins) + "mode = \"report-only\"\n";
    expect(
        Code::E30,
        &[
            (soft(&format!("\"{X1}\"")), 1),
            (soft(&format!("\"{X2}\"")), 0),
            (parent(&format!("\"{X1}\"")), 2),
            (parent(&format!("\"{X2}\"")), 1),
            (parent(&format!("\"{X1}\", \"nobody\"")), 0),
        ],
    );
}

#[test]
fn enforced_without_a_backup() {
    let leaf =
        format!("[keys.standby]\nspki = \"{K4}\"\nrole = \"leaf\"\n[keys.root]\nspki = \"{R4}\"\nrole = \"root\"\n");
    let lists = |more: &str| leaf.clone() + &pins(&format!("leaf_pins = [\"K1\"]\nca_pins = [\"X2\"]\n{more}"));
    let rollout = "mode = \"report-only\"\n[pinset.rollout]\nenforce_from = 2027-02-08\n";
    let heir = |parent: &str| {
        let heir = "[[pinset]]\nname = \"heir\"\nhosts = [\"a.b.example\"]\npins = [\"X1\", \"R1\"]\ninherit = true\n";
        let parent = format!("[[pinset]]\nname = \"parent\"\nhosts = [\"**.b.example\"]\n{parent}\n");
        (heir.to_owned() + &parent).replace("X1", X1).replace("X2", X2).replace("R1", R1)
    };
    expect(
        Code::W31,
        &[
            (pins("pins = [\"X1\", \"X2\"]"), 1),
            (pins(&format!("pins = [\"X1\", \"X2\"]\n{rollout}")), 1),
            (pins("pins = [\"K1\", \"K2\"]\ntrust = \"pin-only\""), 1),
            (lists("combine = \"any\""), 1),
            (pins("leaf_pins = [\"K1\", \"K3\"]\nca_pins = [\"X2\", \"R3\"]\ncombine = \"all\""), 1),
            (heir("pins = [\"X1\", \"X2\"]"), 2),
            (pins("pins = [\"X1\", \"X2\"]\nmode = \"report-only\""), 0),
            (pins("pins = [\"X1\"]\nbackup = [\"X2\"]"), 0),
            (lists("combine = \"all\"\nbackup = [\"standby\", \"root\"]"), 0),
            (lists("combine = \"any\"\nbackup = [\"standby\"]"), 0),
            (lists("combine = \"any\"\nbackup = [\"root\"]"), 0),
            (heir("pins = [\"X1\"]\nbackup = [\"X2\"]"), 0),
            // One pin is another matter, and an error.
            (pins("pins = [\"X1\"]"), 0),
            (lists(""), 0),
            (lists("combine = \"all\""), 0),
            (lists("combine = \"all\"\nbackup = [\"standby\"]"), 0),
            (lists("combine = \"all\"\nbackup = [\"root\"]"), 0),
        ],
    );
    let one = told(
        &lists("combine = \"all\"\nbackup = [\"standby\"]").replace("ca_pins = [", &format!("ca_pins = [\"{R1}\", ")),
    );
    let one = one.iter().find(|told| told.code() == Code::W31).unwrap();
    assert!(one.message().contains("its ca_pins"), "{one}");
}

#[test]
fn certificates_as_pins() {
    let (cert, other) = (format!("\"cert:sha256:{}\"", nobodys_hex(1)), nobodys_hex(2));
    expect(
        Code::W42,
        &[
            (pins(&format!("pins = [{cert}]\nbackup = [\"X2\"]")), 1),
            (pins(&format!("pins = [\"X2\"]\nbackup = [{cert}]")), 1),
            (pins(&format!("leaf_pins = [{cert}, \"cert:sha256:{other}\"]\nbackup = [\"X2\"]")), 1),
            (pins(&format!("[keys.k]\ncert = \"{other}\"\n")), 0),
            (pins(&format!("pins = [{cert}, \"K2\"]\ntrust = \"pin-only\"")), 0),
            (pins(&format!("pins = [{cert}]\nmode = \"off\"")), 0),
            (pins("pins = [\"X1\", \"X2\"]"), 0),
        ],
    );
}

fn pin(number: usize) -> String {
    format!("\"{}\"", nobodys(number))
}

#[test]
fn many_pins() {
    let some = |count: usize| (0..count).map(pin).collect::<Vec<_>>().join(", ");
    let backup = format!("backup = [{}]", pin(99));
    let heir = |own: usize, parents: usize| {
        format!(
            "[[pinset]]\nname = \"heir\"\nhosts = [\"a.b.example\"]\npins = [{}]\ninherit = true\n\
             [[pinset]]\nname = \"parent\"\nhosts = [\"**.b.example\"]\npins = [{}]\n",
            some(own),
            (50..50 + parents).map(pin).collect::<Vec<_>>().join(", "),
        )
    };
    expect(
        Code::W43,
        &[
            (pins(&format!("pins = [{}]\n{backup}", some(10))), 1),
            (pins(&format!("pins = [{}]\nmode = \"report-only\"", some(11))), 1),
            (heir(6, 5), 1),
            (heir(11, 11), 2),
            (pins(&format!("pins = [{}]\n{backup}", some(9))), 0),
            (pins(&format!("leaf_pins = [{0}]\nca_pins = [{0}]\ncombine = \"any\"", some(10))), 0),
            (heir(5, 5), 0),
        ],
    );
}

#[test]
fn pins_of_one_kind() {
    let keys = format!(
        "[keys.leaf]\nspki = \"{K1}\"\nrole = \"leaf\"\n[keys.standby]\nspki = \"{K2}\"\nrole = \"leaf\"\n\
         [keys.middle]\nspki = \"{}\"\nrole = \"intermediate\"\n\
         [keys.second]\nspki = \"{}\"\nrole = \"intermediate\"\n",
        nobodys(1),
        nobodys(2)
    );
    let with = |lines: &str| keys.clone() + &pins(lines);
    expect(
        Code::I33,
        &[
            (with("leaf_pins = [\"K1\", \"K2\"]"), 1),
            (with("pins = [\"leaf\"]\nbackup = [\"standby\"]"), 1),
            (with("leaf_pins = [\"leaf\", \"standby\"]\nmode = \"report-only\""), 1),
            (with("leaf_pins = [\"K1\"]\npins = [\"leaf\"]\ncombine = \"any\""), 1),
            (with("leaf_pins = [\"leaf\", \"standby\"]\nmode = \"off\""), 0),
            (with("leaf_pins = [\"leaf\", \"standby\"]\ntrust = \"pin-only\""), 0),
            (with("pins = [\"leaf\", \"X1\"]"), 0),
            (with("ca_pins = [\"X1\", \"X2\"]"), 0),
            (with("leaf_pins = [\"leaf\"]\nca_pins = [\"X1\"]\ncombine = \"all\""), 0),
        ],
    );
    let middle = "ca_pins = [\"middle\", \"second\"]\n";
    let both = "leaf_pins = [\"leaf\"]\nca_pins = [\"X1\", \"middle\"]";
    let heir = |own: &str, parent: &str| {
        let parent = pins(parent).replace("\"p\"", "\"q\"").replace("a.example", "**.example");
        with(&format!("{own}\ninherit = true\n{parent}\n"))
    };
    let upstream = |roots: &str, lines: &str| format!("[upstream]\nroots = \"{roots}\"\n{}", with(lines));
    expect(
        Code::W34,
        &[
            (with(middle), 1),
            (with("pins = [\"middle\"]\nbackup = [\"second\"]"), 1),
            (upstream("webpki", middle), 1),
            (with(&format!("{middle}roots = \"webpki\"")), 1),
            (upstream("own.pem", &format!("{middle}roots = \"system\"")), 1),
            (upstream("own.pem", middle), 0),
            (with(&format!("{middle}roots = \"own.pem\"")), 0),
            (with(&format!("{middle}mode = \"off\"")), 0),
            (with("leaf_pins = [\"leaf\", \"standby\"]\nca_pins = [\"middle\", \"second\"]\ncombine = \"all\""), 1),
            (with("ca_pins = [\"middle\", \"second\"]\npins = [\"X1\", \"leaf\"]\ncombine = \"all\""), 1),
            (with("ca_pins = [\"middle\"]\npins = [\"second\"]\ncombine = \"any\""), 1),
            (heir(middle, middle), 2),
            (with("leaf_pins = [\"leaf\", \"standby\"]\nca_pins = [\"middle\", \"second\"]\ncombine = \"any\""), 0),
            (with("leaf_pins = [\"leaf\", \"standby\"]\nca_pins = [\"middle\", \"X1\"]\ncombine = \"all\""), 0),
            // What is inherited will do in its place.
            (heir(middle, "ca_pins = [\"X1\", \"X2\"]"), 0),
            (heir("ca_pins = [\"X1\", \"X2\"]", middle), 1),
            (with("ca_pins = [\"middle\", \"X1\"]"), 0),
            (with("ca_pins = [\"middle\"]\nbackup = [\"X1\"]\nmode = \"report-only\""), 0),
        ],
    );
    let root_certificate = "\"cert:sha256:96bcec06264976f37460779acf28c5a7cfe8a3c0aae11a8ffcee05c0bddf08c6\"";
    expect(
        Code::I35,
        &[
            (with("ca_pins = [\"X1\", \"X2\"]"), 1),
            (with("pins = [\"X1\"]\nbackup = [\"R1\"]"), 1),
            (with(&format!("ca_pins = [{root_certificate}, \"X2\"]")), 1),
            (upstream("webpki", "ca_pins = [\"X1\", \"X2\"]"), 1),
            (upstream("own.pem", "ca_pins = [\"X1\", \"X2\"]\nroots = \"system\""), 1),
            // Whether they are trusted there is told by what looks at the file.
            (upstream("own.pem", "ca_pins = [\"X1\", \"X2\"]"), 0),
            (with("ca_pins = [\"X1\", \"X2\"]\nroots = \"own.pem\""), 0),
            (with("ca_pins = [\"X1\", \"X2\"]\nmode = \"off\""), 0),
            (with("pins = [\"K1\", \"K2\"]\ntrust = \"pin-only\""), 0),
            (with("ca_pins = [\"X1\", \"middle\"]"), 1),
            (with("leaf_pins = [\"leaf\"]\nca_pins = [\"X1\"]\ncombine = \"all\""), 0),
            // The root alone is enough.
            (with("pins = [\"leaf\", \"X1\"]"), 1),
            (with("pins = [\"leaf\"]\nbackup = [\"X1\"]"), 1),
            (with("leaf_pins = [\"leaf\"]\nca_pins = [\"X1\"]\ncombine = \"any\""), 1),
            (with("leaf_pins = [\"leaf\"]\nca_pins = [\"middle\", \"X1\"]\ncombine = \"any\""), 1),
            (with("pins = [\"leaf\", \"X1\"]\nca_pins = [\"X2\", \"middle\"]\ncombine = \"all\""), 1),
            (heir("pins = [\"leaf\", \"standby\"]", "ca_pins = [\"X1\", \"X2\"]"), 2),
            (heir("ca_pins = [\"X1\", \"X2\"]", "pins = [\"leaf\", \"standby\"]"), 1),
            (heir(&format!("{both}\ncombine = \"all\""), "pins = [\"leaf\", \"standby\"]"), 0),
            (with("pins = [\"leaf\", \"middle\"]\nca_pins = [\"X1\", \"X2\"]\ncombine = \"all\""), 0),
            // A root that is no longer in the list.
            (with("ca_pins = [\"K3\", \"middle\"]"), 0),
        ],
    );
    let needed = told(&with(&format!("{both}\ncombine = \"all\"").replace("X1", "second")));
    let needed = needed.iter().find(|told| told.code() == Code::W34).unwrap();
    assert_eq!(needed.position(), Some((17, 11)));
    assert!(needed.message().contains("needs its ca_pins"), "{needed}");
}
