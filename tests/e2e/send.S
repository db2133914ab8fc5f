/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest that sends as fast as it can: a boot sector that drives an RTL8139 (by its data sheet: registers in I/O space,
 * four transmit descriptors) and prints "guest up" before it begins. Each frame is a UDP datagram of 1,000 bytes from
 * 192.0.2.2 to 198.51.100.1, port 9, which says who sent it by its source MAC address and by its source port: 256 and the
 * last byte of that address. Who takes it, the receiver itself or a gateway, has the MAC address 02:00:00:00:00:01.
 */
	.code16
	.globl _start
_start:
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movw $0x7c00, %sp
	cld
	movw $0xb102, %ax /* PCI BIOS: find device 10ec:8139, the first one */
	movw $0x8139, %cx
	movw $0x10ec, %dx
	xorw %si, %si
	int $0x1a
	jc stop
	movw $0xb10c, %ax /* write a word: command = I/O, memory, bus master */
	movw $4, %di
	movw $7, %cx
	int $0x1a
	movw $0xb10a, %ax /* read a double word: base address 0 */
	movw $0x10, %di
	int $0x1a
	andw $0xfffc, %cx
	movw %cx, %bp /* the card's registers from here on */

	leaw 0x52(%bp), %dx /* CONFIG1: on */
	xorb %al, %al
	outb %al, %dx
	leaw 0x37(%bp), %dx /* command: reset */
	movb $0x10, %al
	outb %al, %dx
reset:
	inb %dx, %al
	testb $0x10, %al
	jnz reset
	movb $0x04, %al /* transmitter on */
	outb %al, %dx

	movw %bp, %dx /* its address into the frame */
	movw $(frame + 6), %di
	movw $6, %cx
address:
	inb %dx, %al
	stosb
	incw %dx
	loop address
	movb %al, frame + 35 /* source port 0x01XX */

	movw $message, %si
next:
	lodsb
	testb %al, %al
	jz ready
	movw $0x3f8, %dx
	outb %al, %dx
	jmp next
ready:
	xorw %si, %si /* descriptor, times four */
send:
	leaw 0x20(%bp,%si), %dx /* where the frame is */
	movl $frame, %eax
	outl %eax, %dx
	leaw 0x10(%bp,%si), %dx /* its length; OWN cleared: go */
	movl $1042, %eax
	outl %eax, %dx
sent:
	inl %dx, %eax
	testl $0x2000, %eax
	jz sent
	addw $4, %si
	andw $12, %si
	jmp send
stop:
	hlt
	jmp stop

message:
	.asciz "guest up\r\n"
	.balign 4
frame:
	.byte 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 8, 0
	.byte 0x45, 0, 0x04, 0x04, 0, 0, 0x40, 0, 64, 17, 0x4a, 0xb2 /* 1,028 bytes, UDP, checksum */
	.byte 192, 0, 2, 2, 198, 51, 100, 1
	.byte 0x01, 0, 0, 9, 0x03, 0xf0, 0, 0 /* UDP, 1,008 bytes, no checksum */
	.org 510
	.word 0xaa55
