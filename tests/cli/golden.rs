//! Whole answers, as an administrator sees them. `SNAPSHOTS=overwrite cargo test`
//! writes them anew.
use std::fs;

use snapbox::{Assert, Data};

use crate::support::{Room, crowd, file, listing};

use super::fixtures::listings;

/// Runs one check after the other, on the listings and with the options given,
/// and compares what was seen with the golden file of that name.
#[track_caller]
fn check(name: &str, runs: &[(&str, &str)]) {
    let room = Room::new();
    let mut seen = String::new();
    for (listing, args) in runs {
        room.write("listing", listing);
        seen += &format!("$ check_topip --input listing --state-file state {args}\n");
        let args: Vec<_> = "--input listing --state-file state"
            .split(' ')
            .chain(args.split_whitespace())
            .collect();
        let ran = room.check(&args);
        assert_eq!(ran.stderr, "");
        seen += &ran.stdout;
        seen += &format!("[{}]\n", ran.code.unwrap());
    }
    // A second may pass between two runs.
    let seen = seen.replace("Earlier sample, 1 s ago", "Earlier sample, 0 s ago");

    let golden = file("golden").join(format!("{name}.txt"));
    Assert::new().action_env("SNAPSHOTS").eq(seen, Data::read_from(&golden, None));
}

#[test]
fn the_rising_of_an_alarm() {
    let quiet = crowd(30, &[("203.0.113.7", 3)]);
    let flood = crowd(30, &[("203.0.113.7", 152)]);
    let other = crowd(30, &[("203.0.113.8", 152)]);
    check(
        "alarm",
        &[(&quiet, ""), (&other, ""), (&flood, ""), (&flood, ""), (&flood, "-v"), (&quiet, "")],
    );
}

#[test]
fn nothing_to_look_at() {
    let lan = listing(&[("192.168.0.7", 100), ("127.0.0.1", 19), ("192.168.7.7", 1)]);
    check(
        "nothing",
        &[(&listing(&[]), ""), (&lan, ""), (&lan, "-vv"), (&lan, "--no-default-excludes")],
    );
}

#[test]
fn thresholds_of_the_guidelines() {
    let some = crowd(3, &[("203.0.113.7", 60)]);
    check(
        "thresholds",
        &[
            (&some, "-w 50 -c 100"),
            (&some, "-w 50 -c 55"),
            (&some, "-w @50:60"),
            (&some, "-w 100:"),
            (&some, "-c ~:40"),
            (&some, "-w 500 -c 1000"),
            (&listing(&[]), "-w 1:"),
        ],
    );
}

#[test]
fn how_it_explains_itself() {
    let ten = crowd(9, &[("203.0.113.7", 500), ("::ffff:203.0.113.7", 2)]);
    check(
        "explained",
        &[(&ten, "-v"), (&ten, "-vv -n 3"), (&ten, "-vvv --stddev 2 --consecutive 3")],
    );
}

#[test]
fn the_lognormal_rule() {
    let ten = crowd(9, &[("203.0.113.7", 500)]);
    let busy = crowd(30, &[("203.0.113.7", 12), ("203.0.113.8", 9), ("203.0.113.9", 5)]);
    let gang = crowd(50, &[("203.0.113.7", 152), ("203.0.113.8", 150), ("203.0.113.9", 148)]);
    check(
        "lognormal",
        &[
            (&busy, "--rule lognormal -v"),
            (&ten, "--rule lognormal"),
            (&ten, "--rule lognormal -v"),
            (&ten, "--rule lognormal -v -n 3"),
            (&ten, "--rule lognormal --false-alarm-rate 0.000001 --floor 600 -v"),
            (&gang, "-v"),
            (&gang, "--rule lognormal -v"),
            (&listing(&[("203.0.113.7", 200)]), "--rule lognormal -v"),
            (&listing(&[]), "--rule lognormal -v"),
        ],
    );
}

#[test]
fn families_and_networks() {
    let both = listing(&[("203.0.113.7", 12), ("::ffff:203.0.113.8", 4), ("2001:db8::7", 15)]);
    check(
        "selection",
        &[
            (&both, ""),
            (&both, "-4 -vv"),
            (&both, "-6 -vv"),
            (&both, "-x 203.0.113.0/29,2001:db8::/32 -vv"),
        ],
    );
}

/// A fleet of 41 addresses with 4 connections each, which no address gives away,
/// among browsers; and a client that changes its address within its /64.
fn fleets() -> String {
    let fleet: Vec<_> = (1..=41).map(|host| format!("203.0.113.{host}")).collect();
    let client: Vec<_> = (1..=12).map(|host| format!("2001:db8:0:7::{host:x}")).collect();
    let fleet = fleet.iter().map(|address| (address.as_str(), 4));
    let client = client.iter().map(|address| (address.as_str(), 3));
    crowd(60, &fleet.chain(client).chain([("192.0.2.77", 6)]).collect::<Vec<_>>())
}

#[test]
fn networks() {
    let fleets = fleets();
    check(
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
fn labels() {
    let some = crowd(30, &[("203.0.113.7", 152), ("2001:db8::7", 9)]);
    let office = "--label 203.0.113.7=office";
    check(
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
fn ports_states_and_directions() {
    let all = fs::read_to_string(file("fixtures/linux/ss-tan.txt")).unwrap();
    let open = fs::read_to_string(file("fixtures/linux/ss-tn.txt")).unwrap();
    let stateless = fs::read_to_string(file("fixtures/linux/ss-tn-established.txt")).unwrap();
    check(
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
fn rows_that_cannot_be_read() {
    let some = crowd(30, &[("203.0.113.7", 12)]);
    let bad = format!("{some}tcp 0 0 192.0.2.10:443 203.0.113.300:1 ESTABLISHED\ntcp 0 0\n");
    let names = format!("{some}tcp 0 0 web1:https client.example:51514 ESTABLISHED\n");
    let half = some.trim_end().trim_end_matches("LISHED");
    let flood = format!("{}tcp 0 x y z\n", crowd(30, &[("203.0.113.7", 152)]));
    check("unreadable", &[(&bad, ""), (&names, ""), (half, ""), (&flood, "")]);
}

#[test]
fn addresses_that_may_be_cut_off() {
    let cut = fs::read_to_string(file("fixtures/linux/netstat-nt.txt")).unwrap();
    check(
        "cut",
        &[(&cut, ""), (&cut, "-4"), (&cut, "-x 2001:db8::/32"), (&cut, "-x 2001:db8::/64")],
    );
}

/// One answer for each listing, whole.
#[test]
fn every_listing_has_its_answer() {
    let mut seen = String::new();
    for path in listings() {
        let room = Room::new();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let bytes = fs::read(&path).unwrap();
        let ran = room.judge(bytes, &["--no-default-excludes", "-v", "-n", "3"]);
        seen += &format!("== {name}\n{}[{}]\n", ran.stdout, ran.code.unwrap());
    }
    let golden = file("golden").join("listings.txt");
    Assert::new().action_env("SNAPSHOTS").eq(seen, Data::read_from(&golden, None));
}
