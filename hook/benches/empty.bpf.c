// SPDX-License-Identifier: Apache-2.0
/* The least that a program on the entry of system calls can cost: what the recorder's is measured
 * against. */
char LICENSE[] __attribute__((section("license"), used)) = "Dual BSD/GPL";

__attribute__((section("tp_btf/sys_enter"), used)) int empty(void *context)
{
	(void)context;
	return 0;
}
