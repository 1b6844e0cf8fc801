/*
 * SPIR-V as fewer bytes: shaders/embed.c packs and deflates it, code.c unpacks it.
 *
 * Packed is RAPT_PACKED_MAGIC and the number of words, both 4 bytes, the lowest first, and then
 * numbers of 7 bits a byte, the lowest first, the eighth bit for "goes on": the five words of the
 * header, and of each instruction op << 5 | length (length 0: it is 32 or more, and follows), and
 * its operands. Those behind the first are told by their distance from the last instruction's
 * result, for most ids were made shortly before (an idea of Aras Pranckevicius's SMOL-V).
 */
#ifndef RAPT_DEVICE_VULKAN_PACKED_H
#define RAPT_DEVICE_VULKAN_PACKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RAPT_PACKED_MAGIC 0x31767372u
enum { RAPT_PACKED_HEAD = 8 };

/* Whether the operands of an instruction are names, modes, decorations or numbers rather than ids.
 */
static inline bool rapt_packed_plain(uint32_t op)
{
    switch (op) {
    case 5:  /* OpName */
    case 6:  /* OpMemberName */
    case 10: /* OpExtension */
    case 11: /* OpExtInstImport */
    case 16: /* OpExecutionMode */
    case 17: /* OpCapability */
    case 43: /* OpConstant */
    case 50: /* OpSpecConstant */
    case 71: /* OpDecorate */
    case 72: /* OpMemberDecorate */
        return true;
    default:
        return false;
    }
}

/* Whether the second operand of an instruction is near the ids that the next ones take. */
static inline bool rapt_packed_result(uint32_t op)
{
    const bool branches = op >= 246 && op <= 250; /* OpLoopMerge to OpBranchConditional */
    return !branches && op != 62 /* OpStore */ && op != 43 && op != 71 && op != 72;
}

#endif
