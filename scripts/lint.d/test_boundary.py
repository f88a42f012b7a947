"""What scripts/lint.d/boundary lets pass, and what not."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

BOUNDARY = pathlib.Path(__file__).resolve().parent / "boundary"


def check(text, allowed="", more=""):
    """The exit status and the complaints for a file of that text, and another of `more`."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "a.rs").write_text(text)
        (folder / "b.rs").write_text(more)
        (folder / "allowed").write_text(allowed)
        done = subprocess.run(
            [sys.executable, BOUNDARY, "--allowed", folder / "allowed", folder],
            capture_output=True, text=True,
        )
        return done.returncode, [line.removeprefix(f"{folder}/") for line in done.stderr.splitlines()]


def function(body, head='pub extern "C" fn f(out: &mut spacer_str) -> c_int'):
    return f"{head} {{\n{body}\n}}\n"


class Boundary(unittest.TestCase):
    def test_a_body_that_a_guard_runs_passes(self):
        for body in [
            "boundary(|| OK)",
            "super::boundary(|| { x.unwrap(); OK })",
            "// SAFETY: so\n    unsafe { boundary(|| OK) }",
            "giving(out, |out| out.set(b\"{\"));",
            "let mut made = std::ptr::null_mut();\n    boundary(|| OK);\n    made",
            "let mut n = 0;\n    let status = boundary(|| OK);\n    n + status",
        ]:
            with self.subTest(body):
                self.assertEqual(check(function(body)), (0, []))

    def test_so_does_one_that_a_function_runs_which_does_the_same(self):
        more = function("inner(f)", "pub fn outer(f: impl FnOnce() -> c_int) -> c_int") + function("boundary(f)", "fn inner(f: F) -> c_int")
        self.assertEqual(check(function("super::outer(|| OK)"), more=more), (0, []))

    def test_a_body_that_no_guard_runs_is_named_with_its_line(self):
        for body in [
            "x.unwrap()",
            "let x = y.unwrap();\n    boundary(|| x)",
            "let x = Box::new(ptr::null_mut());\n    boundary(|| x)",
            "if x { return y[0]; }\n    boundary(|| OK)",
            "// boundary(|| OK)\n    other(\"boundary(\")",
            "other(|| boundary(|| OK))",
        ]:
            with self.subTest(body):
                status, wrong = check("\n" + function(body))
                self.assertEqual((status, len(wrong)), (1, 1))
                self.assertTrue(wrong[0].startswith("a.rs:2: f can end the worker with a panic"), wrong)

    def test_unsafe_functions_count_and_those_that_lua_does_not_call_do_not(self):
        status, _ = check(function("x()", 'pub unsafe extern "C" fn f()'))
        self.assertEqual(status, 1)
        for head in ["pub fn f()", "pub unsafe fn f()", 'unsafe extern "C" fn f()', 'unsafe extern "C-unwind" fn f()']:
            with self.subTest(head):
                self.assertEqual(check(function("x()", head)), (0, []))

    def test_an_allowed_one_passes_as_long_as_it_is_needed(self):
        self.assertEqual(check(function("7"), allowed="# why\nf\n"), (0, []))
        self.assertEqual(check(function("boundary(|| 7)"), allowed="f\n"), (1, ["allowed: f is no longer needed: remove the line"]))


if __name__ == "__main__":
    unittest.main()
