// Package systemd is livenessd's side of systemd: what a running service tells it, the unit, and how that is installed.
//
// A Notifier speaks sd_notify(3) to the socket that systemd names in the environment. It promises never to wait for systemd longer than
// a second and to send what the protocol allows, whatever text it is given: a status is one line of bounded length. Where no socket is
// named, because the program was started by hand, every message is sent to nobody, without an error. Whether the service deserves to be
// called ready or alive is its caller's to know.
//
// Unit renders livenessd.service.tmpl, the one source of the unit for the install command and for packages. It refuses names and paths
// that would have to be quoted rather than quote them. What each line of the cage is for stands beside it.
//
// An Installer promises that a failed Install leaves nothing behind, down to the old version of what it replaced, and that another one
// repairs whatever a killed one left. It goes through github.com/kardianos/service for writing, enabling and removing a unit, and does
// itself what that doesn't: it stops before it removes, and never lets a script of another init system be written. It manages the
// system's services, not those of a user's session.
package systemd
