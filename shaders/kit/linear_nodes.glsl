// Where the nodes of the trees over chunks lie: those of level b behind those of the levels below,
// ((slots >> b) + 1) of each level, and the node of chunks j 2^b and up of a sequence whose first slot is f
// at (f >> b) + j: no two complete nodes share a place. What the readers of a node say of it comes in parts
// of 2^PART_LOG chunks.
#ifndef RAPT_KIT_LINEAR_NODES_GLSL
#define RAPT_KIT_LINEAR_NODES_GLSL

const uint PART_LOG = 3;

uint linear_tree_base(uint bit, uint slots)
{
    uint base = 0;
    for (uint b = 0; b < bit; b++)
        base += (slots >> b) + 1;
    return base;
}

#endif
