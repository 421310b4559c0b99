// Package systemd is livenessd's side of systemd: what a running service tells it.
//
// A Notifier speaks sd_notify(3) to the socket that systemd names in the environment. It promises never to wait for systemd longer than
// a second and to send what the protocol allows, whatever text it is given: a status is one line of bounded length. Where no socket is
// named, because the program was started by hand, every message is sent to nobody, without an error. Whether the service deserves to be
// called ready or alive is its caller's to know.
package systemd
