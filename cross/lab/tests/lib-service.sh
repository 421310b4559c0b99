# What the scripts about the service share, beside lib.sh.

# The daemon's log is systemd's.
LOG=daemon.log
trap 'code=$?; journalctl -u livenessd -o cat >$LOG; (exit $code); finish' EXIT

property() { systemctl show -P "$1" livenessd; }
active() { [ "$(property ActiveState)" = active ]; }
says() { property StatusText | grep -q "$1"; }
another() { [ "$(property MainPID)" != "$1" ] && [ "$(property MainPID)" != 0 ]; }

# tree is all that an installation can leave behind.
tree() {
  find /etc /usr/local /opt /var/lib /run/livenessd /root -xdev \( -name '*-' -o -name mtab -o -path '/var/lib/systemd/*' -o -path '/root/build*' \) -prune -o -printf '%p %M %u %g\n' 2>/dev/null | sort
  getent passwd
  getent group
}

# tls_broker starts mosquitto with a certificate of its own, and a user with a password; the listener stays without both.
tls_broker() {
  mkdir -p /etc/livenessd-test
  (
    cd /etc/livenessd-test
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out ca.pem -days 30 -subj /CN=localhost \
      -addext subjectAltName=DNS:localhost 2>/dev/null
    mosquitto_passwd -b -c users lab secret
    chown mosquitto *
  )
  printf '%s\n' 'per_listener_settings true' 'listener 1883 127.0.0.1' 'allow_anonymous true' 'listener 8883 127.0.0.1' 'allow_anonymous false' \
    'password_file /etc/livenessd-test/users' 'certfile /etc/livenessd-test/ca.pem' 'keyfile /etc/livenessd-test/key.pem' >/etc/mosquitto/conf.d/lab.conf
  broker start
}

# configuration writes the service's, as a technician would, with the password as a credential.
configuration() {
  configure MJPG 10
  mkdir -p -m 700 /etc/livenessd/credentials
  chmod 755 /etc/livenessd
  { cat livenessd.yaml; echo 'mqtt: {url: "mqtts://localhost:8883", username: lab, ca_file: /etc/livenessd/ca.pem}'; } >/etc/livenessd/livenessd.yaml
  cp /etc/livenessd-test/ca.pem /etc/livenessd/
  chmod 644 /etc/livenessd/ca.pem
  printf secret >/etc/livenessd/credentials/mqtt-password
  chmod 600 /etc/livenessd/credentials/mqtt-password
}
