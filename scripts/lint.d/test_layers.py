"""What scripts/lint.d/layers lets pass, and what not."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

LAYERS = pathlib.Path(__file__).resolve().parent / "layers"


def check(files, allowed=""):
    """The exit status, what was printed, and the complaints, for a `src` of these files."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name, text in files.items():
            path = folder / "src" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (folder / "allowed").write_text(allowed)
        done = subprocess.run(
            [sys.executable, LAYERS, "--source", folder / "src", "--allowed", folder / "allowed"],
            capture_output=True, text=True,
        )
        return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


class Layers(unittest.TestCase):
    def test_a_layer_uses_itself_and_those_below(self):
        files = {
            "nginx/mod.rs": "mod list;",
            "run/mod.rs": "use crate::nginx::{self, lua};\nuse crate::{conf, lua::Vm};\nuse super::nginx;",
            "api/time.rs": "use super::{arg, OK};\nuse crate::api::log;\nfn f() { crate::run::now() }",
            "module.rs": "use crate::platform;",
            "lib.rs": "mod module;",
        }
        self.assertEqual(check(files), (0, [], []))

    def test_an_arrow_that_runs_up_is_named_with_its_line(self):
        for text, line in [
            ("use crate::api::time;", 1),
            ("\nuse crate :: api;", 2),
            ("\n\nfn f() { crate::api::time() }", 3),
            ("use crate::{\n    nginx::{self, string::{a, b}},\n    api::time,\n};", 3),
            ("use crate::{api};", 1),
            ("pub(in crate::api) fn f() {}", 1),
            ("use super::super::api::time;", 1),
            ("use self::super::super::api;", 1),
            ("use super::super::{lua, api};", 1),
            ("fn f<'a>(x: &'a u8) {}\nuse crate::api; // '", 2),
        ]:
            with self.subTest(text):
                status, _, wrong = check({"run/bridge.rs": text})
                self.assertEqual((status, wrong), (1, [f"src/run/bridge.rs:{line}: api lies above this file's layer"]))

    def test_a_folder_s_own_file_is_one_step_from_the_top(self):
        status, _, wrong = check({"run/mod.rs": "use super::api;"})
        self.assertEqual((status, wrong), (1, ["src/run/mod.rs:1: api lies above this file's layer"]))

    def test_what_is_no_path_into_the_crate_does_not_count(self):
        text = (
            "// use crate::api;\n/* crate::api */\n//! [`crate::api`]\n"
            'const A: &str = "use crate::api";\nconst B: &str = r#"crate::api "quoted""#;\n'
            "const C: char = '\"';\nuse super::api;\nuse crate::nginx::{api, list::{platform}};\n"
            "use other::crate_::api;"
        )
        self.assertEqual(check({"run/bridge.rs": text}), (0, [], []))

    def test_features_stand_between_the_phases_and_the_api(self):
        files = {"socket/mod.rs": "use crate::{phase, tls};", "api/socket.rs": "use crate::socket;"}
        self.assertEqual(check(files), (0, [], []))
        status, _, wrong = check({"phase/timer.rs": "use crate::timer;", "timer.rs": "use crate::api;"})
        self.assertEqual(status, 1)
        self.assertEqual(wrong, [
            "src/phase/timer.rs:1: timer lies above this file's layer",
            "src/timer.rs:1: api lies above this file's layer",
        ])

    def test_an_allowed_arrow_is_printed(self):
        files = {"run/mod.rs": "use crate::api;\nuse crate::api::time;"}
        allowed = "# why\nsrc/run/mod.rs -> api\n"
        self.assertEqual(check(files, allowed), (0, ["allowed: src/run/mod.rs -> api"], []))

    def test_an_allowed_arrow_that_is_gone_is_an_error(self):
        status, _, wrong = check({"run/mod.rs": ""}, "src/run/mod.rs -> api\n")
        self.assertEqual((status, wrong), (1, ["allowed: src/run/mod.rs -> api is no longer needed: remove the line"]))

    def test_a_folder_without_a_layer_is_an_error(self):
        status, _, wrong = check({"attic/mod.rs": ""})
        self.assertEqual(status, 1)
        self.assertIn("src/attic/mod.rs: attic is no layer", wrong[0])


if __name__ == "__main__":
    unittest.main()
