use super::*;

fn pins(lines: &str) -> String {
    let text = pinset(lines);
    [("X1", X1), ("X2", X2), ("R1", R1), ("R3", R3), ("R4", R4)]
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
            (pins("leaf_pins = [\"X1\"]"), 1),
            (pins("ca_pins = [\"X1\"]\nmode = \"enforce\""), 1),
            (pins(&format!("pins = [\"X1\"]\n{rollout}")), 1),
            (pins("pins = [\"X1\"]\ntrust = \"pin-only\""), 1),
            (pins("leaf_pins = [\"X1\"]\nca_pins = [\"X1\"]\ncombine = \"any\""), 1),
            (pins("pins = [\"X1\"]\ninherit = false"), 1),
            (parent(&pins("pins = [\"X1\"]\n")), 1),
            (pins("pins = [\"X1\"]\nmode = \"report-only\""), 0),
            (pins("pins = [\"X1\"]\nmode = \"off\""), 0),
            (pins("pins = [\"X1\"]") + "\n[defaults]\nmode = \"off\"", 0),
            (pins("pins = [\"X1\"]\nbackup = [\"X2\"]"), 0),
            (pins("pins = [\"X1\", \"X2\"]"), 0),
            (pins("leaf_pins = [\"X1\"]\nca_pins = [\"X2\"]\ncombine = \"all\""), 0),
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
    assert!(!told(&pins("pins = [\"X1\"]\ntrust = \"pin-only\""))[0].help().contains("report-only"));
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
