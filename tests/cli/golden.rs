//! Complete outputs, compared with golden files. `SNAPSHOTS=overwrite cargo test` rewrites
//! them.
use std::fs;

use snapbox::{Assert, Data};

use crate::support::{TestDir, crowd, listing, test_file};

use super::fixtures::listings;

/// Runs checks one after the other, with the given listings and options, and compares the
/// output with a golden file.
#[track_caller]
fn assert_golden(name: &str, runs: &[(&str, &str)]) {
    let dir = TestDir::new();
    let mut output = String::new();
    for (listing, args) in runs {
        dir.write("listing", listing);
        output += &format!("$ check_topip --input listing --state-file state {args}\n");
        let args: Vec<_> = "--input listing --state-file state"
            .split(' ')
            .chain(args.split_whitespace())
            .collect();
        let result = dir.check(&args);
        assert_eq!(result.stderr, "");
        output += &result.stdout;
        output += &format!("[{}]\n", result.code.unwrap());
    }
    // A second may pass between two runs.
    let output = output.replace("Previous sample, 1 s ago", "Previous sample, 0 s ago");

    let golden = test_file("golden").join(format!("{name}.txt"));
    Assert::new().action_env("SNAPSHOTS").eq(output, Data::read_from(&golden, None));
}

#[test]
fn alarm_output_is_golden() {
    let quiet = crowd(30, &[("203.0.113.7", 3)]);
    let flood = crowd(30, &[("203.0.113.7", 152)]);
    let other = crowd(30, &[("203.0.113.8", 152)]);
    assert_golden(
        "alarm",
        &[(&quiet, ""), (&other, ""), (&flood, ""), (&flood, ""), (&flood, "-v"), (&quiet, "")],
    );
}

#[test]
fn empty_sample_output_is_golden() {
    let lan = listing(&[("192.168.0.7", 100), ("127.0.0.1", 19), ("192.168.7.7", 1)]);
    assert_golden(
        "nothing",
        &[(&listing(&[]), ""), (&lan, ""), (&lan, "-vv"), (&lan, "--no-default-excludes")],
    );
}

#[test]
fn threshold_range_output_is_golden() {
    let some = crowd(3, &[("203.0.113.7", 60)]);
    assert_golden(
        "thresholds",
        &[
            (&some, "--stddev 5 -w 50 -c 100"),
            (&some, "--stddev 5 -w 50 -c 55"),
            (&some, "--stddev 5 -w @50:60"),
            (&some, "--stddev 5 -w 100:"),
            (&some, "--stddev 5 -c ~:40"),
            (&some, "--stddev 5 -w 500 -c 1000"),
            (&listing(&[]), "-w 1:"),
            (&some, "--limit 100 -w connections=50 -c addresses=900"),
            (&some, "--limit 100 -c connections=50 -c addresses=900 -w 5"),
            (&some, "--limit 100 -w stddev=@20:30 -w over=0"),
            (&some, "--limit 20 -c over=0 --prefix4 32,24"),
            (&some, "--limit 100 -w connections=50 -w connections=60"),
            (&some, "--limit 100 -w sockets=50"),
        ],
    );
}

#[test]
fn verbose_output_is_golden() {
    let ten = crowd(9, &[("203.0.113.7", 500), ("::ffff:203.0.113.7", 2)]);
    assert_golden(
        "explained",
        &[(&ten, "-v"), (&ten, "-vv -n 3 --stddev 5"), (&ten, "-vvv --stddev 2 --consecutive 3")],
    );
}

/// Each of the three limits decides once. The rule that is not in use is reported if only its
/// limit is exceeded.
#[test]
fn auto_output_is_golden() {
    let one = crowd(99, &[("203.0.113.7", 30)]);
    let busy = crowd(30, &[("203.0.113.7", 12), ("203.0.113.8", 9), ("203.0.113.9", 5)]);
    let addresses: Vec<_> = (1..=60).map(|host| format!("203.0.113.{host}")).collect();
    let even: Vec<_> = addresses.iter().map(|address| (address.as_str(), 12)).collect();
    let fifty = listing(&[&even[..], &[("203.0.113.99", 50)]].concat());
    let even = listing(&even);
    let gang = crowd(50, &[("203.0.113.7", 152), ("203.0.113.8", 150), ("203.0.113.9", 148)]);
    assert_golden(
        "auto",
        &[
            (&one, ""),
            (&busy, ""),
            (&busy, "-v"),
            (&busy, "--floor 12"),
            (&even, ""),
            (&fifty, ""),
            (&gang, "-v"),
            (&gang, "--stddev 5"),
            (&gang, "--rule auto --stddev 5"),
            (&busy, "--rule lognormal"),
            (&busy, "--rule auto --stddev 1.5 -n 5 -v"),
        ],
    );
}

#[test]
fn fixed_limit_output_is_golden() {
    let two = crowd(9, &[("203.0.113.7", 160), ("203.0.113.8", 151)]);
    assert_golden(
        "fixed",
        &[
            (&two, "--limit 160"),
            (&two, "--limit 150"),
            (&two, "--limit 150 -v"),
            (&two, "--limit 0.5 --consecutive 9"),
            (&listing(&[]), "--limit 150"),
            (&two, "--limit 150 --rule auto"),
            (&two, "--limit 150 --stddev 5"),
            (&two, "--limit 150 --floor 10"),
            (&two, "--limit 150 --false-alarm-rate 0.01"),
            (&two, "--limit -1"),
        ],
    );
}

#[test]
fn lognormal_output_is_golden() {
    let ten = crowd(9, &[("203.0.113.7", 500)]);
    let busy = crowd(30, &[("203.0.113.7", 12), ("203.0.113.8", 9), ("203.0.113.9", 5)]);
    let gang = crowd(50, &[("203.0.113.7", 152), ("203.0.113.8", 150), ("203.0.113.9", 148)]);
    assert_golden(
        "lognormal",
        &[
            (&busy, "--rule lognormal -v"),
            (&ten, "--rule lognormal"),
            (&ten, "--rule lognormal -v"),
            (&ten, "--rule lognormal -v -n 3"),
            (&ten, "--rule lognormal --false-alarm-rate 0.000001 --floor 600 -v"),
            (&gang, "--rule lognormal -v"),
            (&listing(&[("203.0.113.7", 200)]), "--rule lognormal -v"),
            (&listing(&[]), "--rule lognormal -v"),
        ],
    );
}

#[test]
fn family_and_exclude_output_is_golden() {
    let both = listing(&[("203.0.113.7", 12), ("::ffff:203.0.113.8", 4), ("2001:db8::7", 15)]);
    let lan = listing(&[("192.168.0.7", 100), ("192.168.7.7", 3)]);
    assert_golden(
        "selection",
        &[
            (&both, ""),
            (&both, "-4 -vv"),
            (&both, "-6 -vv"),
            (&both, "-x 203.0.113.0/29,2001:db8::/32 -vv"),
            (&both, "--only 203.0.113.0/24 -x 203.0.113.7 -vv"),
            (&lan, "--only 192.168.7.0/24"),
        ],
    );
}

/// Returns a listing with ordinary browsers, a fleet of 41 addresses with 4 connections
/// each, none of which is conspicuous, and a client that changes its address within its
/// /64.
fn fleets() -> String {
    let fleet: Vec<_> = (1..=41).map(|host| format!("203.0.113.{host}")).collect();
    let client: Vec<_> = (1..=12).map(|host| format!("2001:db8:0:7::{host:x}")).collect();
    let fleet = fleet.iter().map(|address| (address.as_str(), 4));
    let client = client.iter().map(|address| (address.as_str(), 3));
    crowd(60, &fleet.chain(client).chain([("192.0.2.77", 6)]).collect::<Vec<_>>())
}

#[test]
fn prefix_output_is_golden() {
    let fleets = fleets();
    assert_golden(
        "networks",
        &[
            (&fleets, "-n 3 -v"),
            (&fleets, "--prefix4 24 -v"),
            (&fleets, "--prefix6 64 --prefix4 24 --prefix-members 41 -n 3 -v"),
            (&fleets, "--prefix6 64 --prefix-members 13 -n 3 -v"),
            (&fleets, "--prefix4 32,24 --prefix6 128,64 -w 100 -n 3"),
            (&fleets, "--prefix4 24,32 --prefix6 64,128 -w 100 -n 3 -vv"),
            (&fleets, "--prefix4 32,24,16 -n 3 -v --rule lognormal"),
            (&listing(&[]), "--prefix4 24 -v"),
        ],
    );
}

#[test]
fn label_output_is_golden() {
    let some = crowd(30, &[("203.0.113.7", 152), ("2001:db8::7", 9)]);
    let office = "--label 203.0.113.7=office";
    assert_golden(
        "labels",
        &[
            (&some, &format!("{office} --label 2001:db8::/32=us|and=them -n 3")),
            (&some, &format!("{office} --label 203.0.113.0/24=clients --prefix4 24 -n 2")),
            (&some, "--label 203.0.113.0/24=$(reboot)|x=1 -n 2"),
            (&some, "--label office"),
        ],
    );
}

#[test]
fn port_state_and_inbound_output_is_golden() {
    let all = fs::read_to_string(test_file("fixtures/linux/ss-tan.txt")).unwrap();
    let open = fs::read_to_string(test_file("fixtures/linux/ss-tn.txt")).unwrap();
    let stateless = fs::read_to_string(test_file("fixtures/linux/ss-tn-established.txt")).unwrap();
    assert_golden(
        "ports",
        &[
            (&all, "--port 443 -vv"),
            (&all, "--port 80,8000-8100 -n 2 -vv"),
            (&all, "--state time-wait,SYN_RECV -vv"),
            (&all, "--exclude-state ESTAB,TIME_WAIT -n 2 -vv"),
            (&all, "--inbound -n 3 -vv"),
            (&open, "--inbound"),
            (&stateless, "--state established"),
        ],
    );
}

#[test]
fn unreadable_row_output_is_golden() {
    let some = crowd(30, &[("203.0.113.7", 12)]);
    let bad = format!("{some}tcp 0 0 192.0.2.10:443 203.0.113.300:1 ESTABLISHED\ntcp 0 0\n");
    let names = format!("{some}tcp 0 0 web1:https client.example:51514 ESTABLISHED\n");
    let half = some.trim_end().trim_end_matches("LISHED");
    let flood = format!("{}tcp 0 x y z\n", crowd(30, &[("203.0.113.7", 152)]));
    assert_golden("unreadable", &[(&bad, ""), (&names, ""), (half, ""), (&flood, "")]);
}

#[test]
fn truncated_address_output_is_golden() {
    let cut = fs::read_to_string(test_file("fixtures/linux/netstat-nt.txt")).unwrap();
    assert_golden(
        "cut",
        &[(&cut, ""), (&cut, "-4"), (&cut, "-x 2001:db8::/32"), (&cut, "-x 2001:db8::/64")],
    );
}

/// The complete output for each listing.
#[test]
fn every_listing_output_is_golden() {
    let mut output = String::new();
    for path in listings() {
        let dir = TestDir::new();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let bytes = fs::read(&path).unwrap();
        let result = dir.check_listing(bytes, &["--no-default-excludes", "-v", "-n", "3"]);
        output += &format!("== {name}\n{}[{}]\n", result.stdout, result.code.unwrap());
    }
    let golden = test_file("golden").join("listings.txt");
    Assert::new().action_env("SNAPSHOTS").eq(output, Data::read_from(&golden, None));
}
