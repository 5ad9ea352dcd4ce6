//! The examples for Kubernetes: valid to its API's schemas, within the restricted profile of pod security,
//! and their configurations pass `check`.

use std::path::PathBuf;
use std::process::Command;

use super::{root, run};
use crate::harness::{Directory, reseal};

/// Checks a file, and prints the configurations in it, each after a line with a NUL.
const CHECK: &str = r"
import sys, yaml, kubernetes_validate

RESTRICTED = {'allowPrivilegeEscalation': False, 'readOnlyRootFilesystem': True, 'capabilities': {'drop': ['ALL']}}
kinds = []
for thing in yaml.safe_load_all(open(sys.argv[1])):
    kubernetes_validate.validate(thing, '1.37', strict=True)
    kinds.append(thing['kind'])
    if thing['kind'] == 'ConfigMap' and 'config.yaml' in thing['data']:
        print('\0' + thing['data']['config.yaml'])
    if thing['kind'] == 'Deployment':
        pod = thing['spec']['template']['spec']
        assert pod['securityContext']['runAsNonRoot'] is True
        assert pod['securityContext']['seccompProfile'] == {'type': 'RuntimeDefault'}
        for container in pod['containers'] + pod.get('initContainers', []):
            assert container['securityContext'] == RESTRICTED, container['name']
            if container['name'] != 'reseal':
                continue
            assert container['livenessProbe'] and container['lifecycle']['preStop']
            for mount in container['volumeMounts']:
                assert mount['name'] in [volume['name'] for volume in pod['volumes']]
assert 'Deployment' in kinds and 'ConfigMap' in kinds, kinds
";

#[test]
fn the_examples_are_valid_and_restricted_and_their_configurations_pass_check() {
    let python = root().join("target/kubernetes/bin/python");
    if !python.is_file() {
        println!(
            "skipped: {} is missing; scripts/test.sh makes it",
            python.display()
        );
        return;
    }
    for example in ["reseal.yaml", "sidecar.yaml"] {
        let file: PathBuf = root().join("packaging/kubernetes").join(example);
        let mut command = Command::new(&python);
        let printed = run(command.args(["-W", "ignore", "-c", CHECK]).arg(file));
        let configurations: Vec<_> = printed.split('\0').skip(1).collect();
        assert_eq!(configurations.len(), 1, "{example}");
        for text in configurations {
            let directory = Directory::new();
            let config = directory.write("config.yaml", text).display().to_string();
            let checked = reseal(&["check", "--strict", "--no-files", &config]);
            checked.must_exit_with(0);
            assert!(!checked.text().contains("warning"), "{}", checked.text());
        }
    }
}
