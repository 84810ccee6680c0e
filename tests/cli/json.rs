//! The answer for programs: whole, valid, and the same as that for Nagios.
use std::{collections::BTreeMap, fs, process::Command};

use serde_json::Value;
use snapbox::{Assert, Data};

use crate::support::{HOME, Room, crowd, file, listing, run, skip};

/// What is looked at, by which options, under which name.
fn runs() -> Vec<(String, &'static str)> {
    let flood = crowd(30, &[("203.0.113.7", 152), ("2001:db8::7", 9)]);
    let all = fs::read_to_string(file("fixtures/linux/ss-tan.txt")).unwrap();
    vec![
        (flood.clone(), "-n 2"),
        (flood.clone(), "-n 2 --label 203.0.113.0/24=office -w 100 -c 150"),
        (flood.clone(), "--prefix4 32,24 --prefix6 128,64 --rule lognormal -n 2"),
        (all, "--port 443 --state SYN_RECV,TIME_WAIT -n 1"),
        (format!("{flood}tcp 0 x y|z\n"), "-n 1"),
        (listing(&[("192.168.0.7", 5)]), ""),
        ("no listing at all\n".to_owned(), ""),
        (flood, "--no-such-option"),
    ]
}

/// The answers in both forms, each in a room of its own, so that neither sees
/// the sample of the other.
fn answers(listing: &str, options: &str) -> (String, String) {
    let answer = |form| {
        let options: Vec<_> =
            options.split_whitespace().chain(["--output", form, "--state-file", "state"]).collect();
        let ran = Room::new().judge(listing, &options);
        let status = ran.code.unwrap();
        (ran.stdout, status)
    };
    let ((nagios, one), (json, other)) = (answer("nagios"), answer("json"));
    assert_eq!(one, other, "{options}");
    let object: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(object["exit_code"], one, "{options}");
    (nagios, json)
}

#[test]
fn it_is_what_it_was() {
    let mut seen = String::new();
    for (listing, options) in runs() {
        let (_, json) = answers(&listing, options);
        let mut object: Value = serde_json::from_str(&json).unwrap();
        if let Some(when) = object.get_mut("when") {
            assert!(when.as_u64().unwrap() > 1_700_000_000);
            *when = 0.into();
        }
        seen += &format!("$ check_topip {options}\n{object:#}\n");
    }
    // Where it lies is not what it says.
    let room = regex::Regex::new("/[^ ]*/listing").unwrap();
    let seen = room.replace_all(&seen, "listing");
    let golden = file("golden").join("json.txt");
    Assert::new().action_env("SNAPSHOTS").eq(&*seen, Data::read_from(&golden, None));
}

#[test]
fn the_numbers_are_those_of_the_perfdata() {
    let mut n_compared = 0;
    for (listing, options) in runs() {
        let (nagios, json) = answers(&listing, options);
        let object: Value = serde_json::from_str(&json).unwrap();
        let line = nagios.lines().next().unwrap();
        let Some((text, perfdata)) = line.split_once(" | ") else {
            assert!(object.get("views").is_none());
            continue;
        };
        assert!(text.ends_with(object["message"].as_str().unwrap()), "{text}");
        let fields: BTreeMap<_, _> =
            perfdata.split(' ').map(|field| field.split_once('=').unwrap()).collect();
        let value = |field: &str| fields[field].split(';').next().unwrap().to_owned();
        let view = &object["views"][0];
        for field in ["max", "avg", "stddev", "med", "min", "addresses", "connections"] {
            let number: f64 = view[field].as_f64().unwrap();
            assert_eq!(number.to_string(), value(field), "{field}: {options}");
            n_compared += 1;
        }
        if !options.contains("-w") {
            let warning = fields["max"].split(';').nth(1).unwrap();
            assert_eq!(view["limit"].as_f64().unwrap().to_string(), warning, "{options}");
        }
    }
    assert!(n_compared > 30);
}

#[test]
fn it_keeps_to_its_schema() {
    let python = |args: &[&str]| {
        let mut python = Command::new("python3");
        python.args(args);
        python
    };
    if !python(&["-c", "import jsonschema"]).status().is_ok_and(|status| status.success()) {
        return skip("python3-jsonschema");
    }
    let room = Room::new();
    let schema = format!("{HOME}/docs/check_topip.schema.json");
    let validate = "import json, jsonschema, sys; \
                    jsonschema.Draft7Validator.check_schema(json.load(open(sys.argv[1]))); \
                    jsonschema.validate(json.load(open(sys.argv[2])), json.load(open(sys.argv[1])))";
    for (listing, options) in runs() {
        let answer = room.write("answer.json", answers(&listing, options).1);
        let ran = run(&mut python(&["-c", validate, &schema, answer.to_str().unwrap()]));
        assert_eq!((ran.stderr.as_str(), ran.code), ("", Some(0)), "{options}");
    }
    let wrong = room.write("wrong.json", "{\"schema\": 1, \"status\": \"FINE\"}");
    let ran = run(&mut python(&["-c", validate, &schema, wrong.to_str().unwrap()]));
    assert_ne!(ran.code, Some(0), "the schema takes anything");
}

/// Whatever there is to tell, it is told whole and in time, or it is said that it
/// was not.
#[test]
fn a_long_answer_is_whole_or_none() {
    let room = Room::new();
    let heading = "State Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n";
    let row = |n: u32| {
        let [.., a, b, c] = n.to_be_bytes();
        format!("ESTAB 0 0 [2001:db8:ffff::1]:443 [2001:db8:{a:x}:{b:x}::{c:x}]:50000\n")
    };
    let listing: String =
        std::iter::once(heading.to_owned()).chain((0..400_000).map(row)).collect();
    for (seconds, args) in [(1, "-vvv"), (1, "-vvv --prefix6 128,64,48,32"), (30, "-vvv")] {
        let time = format!("{seconds}:critical");
        let args: Vec<_> = args.split(' ').chain(["--output", "json", "-t", &time]).collect();
        let ran = room.judge(&listing, &args);
        let object: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(object["exit_code"], ran.code.unwrap());
        match object.get("views") {
            Some(views) => assert_eq!(views[0]["top"].as_array().unwrap().len(), 400_000),
            None => {
                let message = object["message"].as_str().unwrap();
                assert!(message.starts_with("no answer within 1 s"), "{message}");
                assert_eq!((seconds, ran.code), (1, Some(2)));
                // To tell all of it takes many times that.
                assert!(ran.took.as_millis() < 2500, "{:?}", ran.took);
            }
        }
    }
}
