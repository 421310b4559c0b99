# The package on a bare Debian of another processor: installed, what the program says there, again, removed, purged. systemd's programs are
# there, systemd doesn't run. Answers lie in /host/out, exit codes in results.
set -u
out=/host/out
result() { echo "$*" >>$out/results; }

# say NAME COMMAND... keeps what a command says, and how it ends.
say() {
  local name=$1
  shift
  "$@" >"$out/$name" 2>&1
  result "$name" $?
}

# tree is all that a package can leave behind.
tree() {
  find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /host -o -path /root -o -path /var/log -o -path '/var/lib/dpkg/*-old' \
    -o -path '/var/lib/dpkg/lock*' -o -path /var/lib/dpkg/triggers -o -path /var/lib/dpkg/status -o -path '/var/cache/*' -o -path '/etc/*-' -o -path /etc/.pwd.lock \) \
    -prune -o -printf '%p %M %u %g %l\n' | sort
  getent passwd
  getent group
}

tree >/root/before
say installed dpkg -i /root/livenessd.deb
result user "$(id -nG livenessd)"
result etc "$(stat -c '%U:%G %a' /etc/livenessd)"
result enabled "$(readlink /etc/systemd/system/multi-user.target.wants/livenessd.service)"
say version livenessd version
say check livenessd check
say doctor livenessd doctor
say score livenessd score --json /host/live.jpg
say status livenessd status
say install livenessd install
say unit livenessd install --dry-run

# The daemon itself, where there is something to play and no broker.
livenessd run --config /host/run.yaml >$out/run 2>&1 &
daemon=$!
# Under emulation loading takes its time; whatever isn't ready by then isn't.
for _ in {1..600}; do
  grep -q 'ready: all cameras and models work' $out/run && break
  kill -0 $daemon 2>/dev/null || break
  sleep 0.5
done
kill -TERM $daemon 2>/dev/null
wait $daemon
result run $?

say again dpkg -i /root/livenessd.deb
say removed dpkg -r livenessd
result kept "$(ls /etc/livenessd/livenessd.yaml 2>/dev/null)"
say purged dpkg -P livenessd
tree >/root/after
diff /root/before /root/after >$out/left
result left "$(wc -l <$out/left)"
