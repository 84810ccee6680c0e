//! JSON output: complete, valid, and consistent with the output for Nagios.
use std::{collections::BTreeMap, fs, process::Command};

use serde_json::Value;
use snapbox::{Assert, Data};

use crate::support::{PACKAGE_DIR, TestDir, crowd, listing, run, skip, test_file};

/// Returns the listings and options of the runs.
fn runs() -> Vec<(String, &'static str)> {
    let flood = crowd(30, &[("203.0.113.7", 152), ("2001:db8::7", 9)]);
    let all = fs::read_to_string(test_file("fixtures/linux/ss-tan.txt")).unwrap();
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

/// Returns the output in both formats, each with its own state file, so that neither uses
/// the sample of the other.
fn nagios_and_json(listing: &str, options: &str) -> (String, String) {
    let output_file = |form| {
        let options: Vec<_> =
            options.split_whitespace().chain(["--output", form, "--state-file", "state"]).collect();
        let result = TestDir::new().check_listing(listing, &options);
        let status = result.code.unwrap();
        (result.stdout, status)
    };
    let ((nagios, nagios_code), (json, json_code)) = (output_file("nagios"), output_file("json"));
    assert_eq!(nagios_code, json_code, "{options}");
    let object: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(object["exit_code"], nagios_code, "{options}");
    (nagios, json)
}

#[test]
fn json_output_is_golden() {
    let mut output = String::new();
    for (listing, options) in runs() {
        let (_, json) = nagios_and_json(&listing, options);
        let mut object: Value = serde_json::from_str(&json).unwrap();
        if let Some(when) = object.get_mut("timestamp") {
            assert!(when.as_u64().unwrap() > 1_700_000_000);
            *when = 0.into();
        }
        for view in object["views"].as_array_mut().into_iter().flatten() {
            for peer in view["top"].as_array_mut().unwrap() {
                if let Some(since) = peer.get_mut("over_since") {
                    assert!(since.as_u64().unwrap() > 1_700_000_000);
                    *since = 0.into();
                }
            }
        }
        output += &format!("$ check_topip {options}\n{object:#}\n");
    }
    // The path of the listing differs in each run.
    let dir = regex::Regex::new("/[^ ]*/listing").unwrap();
    let output = dir.replace_all(&output, "listing");
    let golden = test_file("golden").join("json.txt");
    Assert::new().action_env("SNAPSHOTS").eq(&*output, Data::read_from(&golden, None));
}

#[test]
fn json_numbers_match_perfdata() {
    let mut n_compared = 0;
    for (listing, options) in runs() {
        let (nagios, json) = nagios_and_json(&listing, options);
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
fn json_output_matches_schema() {
    let python = |args: &[&str]| {
        let mut python = Command::new("python3");
        python.args(args);
        python
    };
    if !python(&["-c", "import jsonschema"]).status().is_ok_and(|status| status.success()) {
        return skip("python3-jsonschema");
    }
    let dir = TestDir::new();
    let schema = format!("{PACKAGE_DIR}/docs/check_topip.schema.json");
    let validate = "import json, jsonschema, sys; \
                    jsonschema.Draft7Validator.check_schema(json.load(open(sys.argv[1]))); \
                    jsonschema.validate(json.load(open(sys.argv[2])), json.load(open(sys.argv[1])))";
    for (listing, options) in runs() {
        let output_file = dir.write("answer.json", nagios_and_json(&listing, options).1);
        let result = run(&mut python(&["-c", validate, &schema, output_file.to_str().unwrap()]));
        assert_eq!((result.stderr.as_str(), result.code), ("", Some(0)), "{options}");
    }
    let wrong = dir.write("wrong.json", "{\"schema\": 1, \"status\": \"FINE\"}");
    let result = run(&mut python(&["-c", validate, &schema, wrong.to_str().unwrap()]));
    assert_ne!(result.code, Some(0), "the schema accepts anything");
}

/// Returns the top count, the status and the reasons of each view.
fn judged_views(listing: &str, options: &str) -> Vec<String> {
    let (_, json) = nagios_and_json(listing, options);
    let object: Value = serde_json::from_str(&json).unwrap();
    let views = object["views"].as_array().unwrap().iter();
    views.map(|view| format!("{} {} {}", view["max"], view["status"], view["reasons"])).collect()
}

/// `--warning` and `--critical` are ranges of the first view's top count.
#[test]
fn thresholds_apply_to_the_first_view_only() {
    let addresses: Vec<_> = (1..=100).map(|host| format!("203.0.113.{host}")).collect();
    let counts: Vec<_> = addresses.iter().map(|address| (address.as_str(), 2)).collect();
    let fleet = listing(&counts);
    for (option, status) in [("warning", "WARNING"), ("critical", "CRITICAL")] {
        let judged = |prefixes: &str, range: u32| {
            let options = format!("--prefix4 {prefixes} --floor 1000 --{option} {range}");
            judged_views(&fleet, &options)
        };
        let is_over = |max: u32| format!("{max} \"{status}\" [\"{option}\"]");
        assert_eq!(judged("32,24", 50), ["2 \"OK\" []", "200 \"OK\" []"]);
        assert_eq!(judged("32,24", 1), [&*is_over(2), "200 \"OK\" []"]);
        assert_eq!(judged("24", 50), [is_over(200)]);
    }
}

/// A listing of sockets and flows is neither: its connections have no common direction.
#[test]
fn sockets_and_flows_together_are_both() {
    let sockets = listing(&[("203.0.113.7", 2)]);
    let flow = "tcp 6 9 ESTABLISHED src=203.0.113.7 dst=192.0.2.1 sport=1 dport=80 src=10.1.0.2\n";
    for (listing, table, direction) in [
        (sockets.clone(), "sockets", ""),
        (flow.to_owned(), "flows", " through this gateway"),
        (format!("{sockets}{flow}"), "both", ""),
        (format!("{flow}{sockets}"), "both", ""),
    ] {
        let (nagios, json) = nagios_and_json(&listing, "");
        let object: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(object["table"], table, "{listing}");
        let n = object["views"][0]["connections"].as_u64().unwrap();
        let noun = if n == 1 { "connection" } else { "connections" };
        let status_line =
            format!("TOPIP OK - 203.0.113.7 has {n} {noun}{direction}, limit 43.8 | ");
        assert!(nagios.starts_with(&status_line), "{nagios}");
    }
}

/// Output is complete and in time, or the timeout is reported.
#[test]
fn long_json_output_is_complete_or_times_out() {
    let dir = TestDir::new();
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
        let result = dir.check_listing(&listing, &args);
        let object: Value = serde_json::from_str(&result.stdout).unwrap();
        assert_eq!(object["exit_code"], result.code.unwrap());
        match object.get("views") {
            Some(views) => assert_eq!(views[0]["top"].as_array().unwrap().len(), 400_000),
            None => {
                let message = object["message"].as_str().unwrap();
                assert!(message.starts_with("no answer within 1 s"), "{message}");
                assert_eq!((seconds, result.code), (1, Some(2)));
                // Writing all of it takes much longer than that.
                assert!(result.elapsed.as_millis() < 2500, "{:?}", result.elapsed);
            }
        }
    }
}
