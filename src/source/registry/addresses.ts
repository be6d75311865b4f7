import { BlockList, isIP } from "node:net";

/** This machine, its link, and the cloud's metadata services: what a remote registry has no business sending us to. */
const reserved = new BlockList();
reserved.addSubnet("0.0.0.0", 8);
reserved.addSubnet("127.0.0.0", 8);
reserved.addSubnet("169.254.0.0", 16);
reserved.addAddress("100.100.100.200"); // Alibaba Cloud's metadata service
reserved.addAddress("192.0.0.192"); // Oracle Cloud's
reserved.addAddress("::", "ipv6");
reserved.addAddress("::1", "ipv6");
reserved.addSubnet("fe80::", 10, "ipv6");
reserved.addAddress("fd00:ec2::254", "ipv6"); // EC2's
reserved.addSubnet("64:ff9b::7f00:0", 104, "ipv6"); // 127.0.0.0/8 behind NAT64
reserved.addSubnet("64:ff9b::a9fe:0", 112, "ipv6"); // 169.254.0.0/16 behind NAT64

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8);
loopback.addAddress("::1", "ipv6");

/**
 * Whether an address may only be asked by the user, never because a remote registry said so. Private networks
 * (RFC 1918) are not among them: refusing those breaks registries that live there (docker/model-runner#1050).
 */
export function isReservedAddress(address: string): boolean {
  return inList(reserved, address);
}

/** `localhost`, its subdomains (RFC 6761, section 6.3), 127.0.0.0/8 and ::1, without port. */
export function isLoopbackHost(hostname: string): boolean {
  const bare = withoutBrackets(hostname);
  return bare === "localhost" || bare.endsWith(".localhost") || inList(loopback, bare);
}

/** True for host names and addresses that need no look-up to know that they are reserved. */
export function isReservedHost(hostname: string): boolean {
  return isLoopbackHost(hostname) || isReservedAddress(withoutBrackets(hostname));
}

function withoutBrackets(hostname: string): string {
  return hostname.startsWith("[") ? hostname.slice(1, -1) : hostname;
}

function inList(list: BlockList, address: string): boolean {
  const family = isIP(address);
  return family !== 0 && list.check(address, family === 6 ? "ipv6" : "ipv4");
}
