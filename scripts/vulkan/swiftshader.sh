#!/usr/bin/env bash
# Puts SwiftShader, a software Vulkan driver, into a folder: it is part of Debian's package chromium-common, of which nothing
# else is installed.   Usage: scripts/vulkan/swiftshader.sh DIR
set -euo pipefail
dir="${1:?usage: swiftshader.sh DIR}"
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# apt's own sandbox user must be able to write there.
chmod 777 "$work"
(cd "$work" && apt-get download -qq chromium-common && dpkg-deb -x chromium-common_*.deb tree)
cp "$work/tree/usr/lib/chromium/libvk_swiftshader.so" "$dir/"
cat > "$dir/vk_swiftshader_icd.json" <<JSON
{"file_format_version": "1.0.0", "ICD": {"library_path": "$dir/libvk_swiftshader.so", "api_version": "1.0.5"}}
JSON
echo "VK_DRIVER_FILES=$dir/vk_swiftshader_icd.json"
