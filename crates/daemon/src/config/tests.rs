//! What holds, what is refused, and what the refusal says.

use super::*;

fn with(flags: &[&str]) -> Result<Config, ConfigError> {
    let mut layers = Layers::default();
    flags.iter().try_for_each(|flag| layers.flag(flag))?;
    Config::of(&layers)
}

#[test]
fn the_embedded_defaults_are_a_configuration_and_every_field_is_documented() {
    let config = with(&[]).expect("the defaults hold");
    assert_eq!((config.listen.prices, config.listen.challenge_period), (50_001, 50_005));
    let settings = Layers::default().settings();
    let fields = DEFAULTS.lines().filter(|line| line.contains(" = ") && !line.starts_with('#'));
    assert_eq!(settings.len(), fields.count());
    for setting in settings {
        assert!(setting.meaning.len() > 5, "{} is not documented", setting.path);
        if setting.path.ends_with("_ms") {
            assert!(setting.meaning.contains("ms") || setting.meaning.contains("See"));
        }
        assert_eq!(setting.origin, Origin::Default);
        assert!(!setting.value.is_empty());
    }
}

#[test]
fn flags_prevail_over_variables_and_variables_over_the_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("proctor.toml");
    let text = "[listen]\nprices = 1\norders = 1\nnode = 1\n[node]\nchain_id = 'mine'\n";
    std::fs::write(&file, text).expect("written");
    let mut layers = Layers::default();
    layers.file(&file).expect("a configuration");
    let variables = [("PROCTOR_LISTEN_PRICES", "2"), ("PROCTOR_LISTEN_ORDERS", "2")];
    let lookup = |name: &str| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    layers.environment(lookup).expect("variables");
    layers.flag("listen.prices=3").expect("a flag");
    let config = Config::of(&layers).expect("a configuration");
    let Listen { prices, orders, node, eliminations, .. } = config.listen;
    assert_eq!((prices, orders, node, eliminations), (3, 2, 1, 50_004));
    assert_eq!(config.node.chain_id, "mine");
    assert_eq!(layers.origin("listen.node"), Origin::File(file));
    assert_eq!(layers.origin("listen.prices"), Origin::Flag("--set listen.prices=3".into()));
}

#[test]
fn a_word_needs_no_quotes_and_a_number_stays_one() {
    let config = with(&["feed.kind=none", "node.chain_id=7", "auth.open_reads=false"]);
    let config = config.expect("a configuration");
    assert_eq!(config.feed.kind, FeedKind::None);
    assert_eq!(config.node.chain_id, "7");
    assert!(!config.auth.open_reads);
    let quoted = with(&["node.chain_id=\"a-b\""]).expect("a configuration");
    assert_eq!(quoted.node.chain_id, "a-b");
}

#[test]
fn what_cannot_be_is_refused_with_field_origin_and_advice() {
    for (flag, part) in [
        ("listen.price=1", "there is no field listen.price (is listen.prices meant?)"),
        ("prices=1", "is listen.prices meant?"),
        ("nonsense", "is to be PATH=VALUE"),
        ("listen.prices=many", "is to be a whole number, not \"many\""),
        ("listen.prices=70000", "the configuration: "),
        ("listen.prices=50002", "50002 is the port of listen.prices already"),
        ("listen.host=0.0.0.0", "set auth.open_reads = false"),
        ("listen.host=here", "the configuration: "),
        ("node.tick_ms=0", "is not within 1 to 86,400,000 ms"),
        ("services.restarts_max=61", "is to be at most 60"),
        ("node.queue_max=0", "at least 1"),
        ("node.chain_id=", "node.chain_id"),
        ("feed.kind=magic", "magic"),
        ("feed.kind=recorded", "names no file"),
        ("orders.window_max_ms=-1", "orders.window_max_ms"),
    ] {
        let error = with(&[flag]).expect_err(flag).to_string();
        assert!(error.contains(part), "{flag}: {error}");
        assert!(!error.contains('\n'), "{flag}: {error}");
    }
}

#[test]
fn a_file_that_is_missing_or_broken_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("proctor.toml");
    let mut layers = Layers::default();
    let missing = layers.file(&file).expect_err("not there").to_string();
    assert!(missing.contains("proctor.toml"), "{missing}");
    for (text, part) in [
        ("[listen", "proctor.toml"),
        ("[listen]\nprise = 1\n", "there is no field listen.prise"),
        ("listen = 1\n", "there is no field listen"),
        ("[nothing]\na = 1\n", "there is no field nothing.a"),
    ] {
        std::fs::write(&file, text).expect("written");
        let error = Layers::default().file(&file).expect_err(text).to_string();
        assert!(error.contains(part) && !error.contains('\n'), "{error}");
    }
}
