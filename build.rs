//! Migrations are compiled in by a macro that notices changed files, but not new ones.

fn main() {
    println!("cargo:rerun-if-changed=src/stores");
}
