#!/usr/bin/env bash
# Lists the comparisons with peers.
cd "$(dirname "$0")"
echo "comparisons (make compare NAME=...):"
for file in *; do
  case $file in *.*) continue ;; esac
  [ -f "$file" ] && printf '  %-10s %s\n' "$file" "$(sed -n '2s/"""//gp' "$file")"
done
