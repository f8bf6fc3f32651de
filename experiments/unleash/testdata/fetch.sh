#!/bin/sh
# Fetches Unleash's client-specification 6.1.0 (Apache-2.0) beside this script; it is not part of the repository. A second call does nothing.
set -eu
cd "$(dirname "$0")"
[ -f client-specification/specifications/index.json ] && exit 0
rm -rf client-specification.new && mkdir client-specification.new
cd client-specification.new
npm pack --silent @unleash/client-specification@6.1.0 >/dev/null
tar xzf unleash-client-specification-6.1.0.tgz
cd ..
rm -rf client-specification && mv client-specification.new/package client-specification
rm -rf client-specification.new
