#!/bin/sh
# From a bare Debian 12 or 13 to a built rapt: installs the Debian packages that are missing (as root
# or through sudo), builds into ./build and then
#
#     scripts/setup.sh demo     runs scripts/examples/first_study.lua
#     scripts/setup.sh test     runs the tests
#     scripts/setup.sh build    stops there
#
# Running it again costs only what is left to do. Nothing but apt uses the network. The exit status
# is 0 when all went well, 1 when not, 2 for wrong usage.
set -u

# What building and running need.
packages='
    gcc libc6-dev meson ninja-build pkg-config
    lua5.4 liblua5.4-dev lua-argparse lua-cjson lua-filesystem lua-luv
    libedit-dev libffi-dev libjansson-dev libopenblas0-pthread libpng-dev libsleef-dev nettle-dev
    zlib1g-dev
    glslang-dev glslang-tools g++ libvulkan-dev spirv-tools'

# libxsmm makes machine code for x86-64 alone.
amd64_packages='libxsmm-dev'

# What tests and checks need besides.
test_packages='
    clang clang-format libclang-rt-dev libcmocka-dev lua-busted lua-check mesa-vulkan-drivers patchelf
    vulkan-validationlayers'

say() {
    printf '== %s\n' "$*"
}

fail() {
    printf 'setup.sh: %s\n' "$*" >&2
    exit 1
}

usage() {
    echo 'usage: scripts/setup.sh demo|test|build' >&2
    exit 2
}

# Of the packages named, those that are not installed.
missing() {
    for package in "$@"; do
        case $(dpkg-query -W -f='${Status}' "$package" 2>/dev/null) in
        'install ok installed' | 'hold ok installed') ;;
        *) printf '%s ' "$package" ;;
        esac
    done
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo env DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

install_packages() {
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        say "This is no Debian: the packages it would need are taken as installed:" $packages
        return
    fi
    if [ "$(dpkg --print-architecture)" = amd64 ]; then
        packages="$packages $amd64_packages"
    fi
    wanted=$(missing $packages)
    if [ -z "$wanted" ]; then
        return
    fi
    say "Installing $wanted"
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        fail "these packages are missing and need root: apt-get install $wanted"
    fi
    as_root apt-get update -q || fail 'apt-get update failed'
    as_root apt-get install -q -y --no-install-recommends $wanted ||
        fail "apt-get could not install $wanted"
    wanted=$(missing $packages)
    [ -z "$wanted" ] || fail "still not installed: $wanted"
}

build() {
    if [ ! -f build/build.ninja ]; then
        say 'Configuring ./build'
        meson setup build || fail 'meson could not configure ./build (see build/meson-logs)'
    fi
    say 'Building'
    meson compile -C build || fail 'the build failed'
}

[ $# -eq 1 ] || usage
case $1 in
demo | build) ;;
test) packages="$packages $test_packages" ;;
*) usage ;;
esac

cd "$(dirname "$0")/.." || fail 'cannot enter the folder of the sources'
install_packages
build
case $1 in
demo)
    say 'build/core/cli/rapt run scripts/examples/first_study.lua'
    build/core/cli/rapt run scripts/examples/first_study.lua || fail 'the demo failed'
    ;;
test)
    say 'Testing'
    meson test -C build --print-errorlogs || fail 'tests failed'
    ;;
build)
    say 'Built: try build/core/cli/rapt'
    ;;
esac
