//! What `doctor` says is what a container of this user gets.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use crate::support::process::{self, words};
use crate::support::tunnels::with_a_device_for_tunnels;
use crate::support::warpdrive::binary;

#[test]
fn each_user_is_told_what_carries_traffic_out() {
    let place = tempfile::tempdir().unwrap();
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = place.path().join("warpdrive");
    std::fs::copy(binary(), &program).unwrap();
    for user in ["warpdrive-tester", "warpdrive-single", "root"] {
        let home = place.path().join(user);
        process::run(Command::new("install").args(["-d", "-o", user]).arg(&home));
        let mut command = Command::new(process::tool("setpriv"));
        command
            .args([
                "--reuid",
                user,
                "--regid",
                user,
                "--init-groups",
                "env",
                "-i",
            ])
            .arg(format!("PATH={}", process::PATH))
            .arg(format!("HOME={}", home.display()))
            .arg(&program)
            .args(["doctor", "--json"]);
        for carrier in ["slirp4netns", "pasta"] {
            let output = process::output(&mut with_a_device_for_tunnels(&command, carrier));
            let report: Value = serde_json::from_slice(&output.stdout)
                .unwrap_or_else(|error| panic!("{error}: {}", words(&output)));
            let checks = report["checks"].as_array().unwrap();
            let found = checks.iter().find(|it| it["name"] == "private network");
            let found = found.unwrap_or_else(|| panic!("{report:#}"));
            assert_eq!(found["verdict"], "ok", "{user}: {found:#}");
            let detail = found["detail"].as_str().unwrap();
            assert_eq!(detail, format!("outbound through {carrier}"), "{user}");
        }
    }
}
