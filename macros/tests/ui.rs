//! What the attributes say to code that they cannot run. Each `ui/*.rs` is compiled, and must fail with the text beside it.
//!
//! `TRYBUILD=overwrite cargo test -p eddies-macros` writes the texts anew. This stands with the macros and not with `eddies`
//! because the compiled programs get the dependencies of the package that they stand in.

#[test]
fn refusals_say_what_to_write() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    cases.pass("tests/pass/*.rs");
}
