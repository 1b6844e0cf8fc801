// Borders of packed sequences. Nothing waits for the device to read them, so those that do not rise from 0
// to the number of positions cannot be refused: they are held in range.
#ifndef RAPT_KIT_BORDERS_GLSL
#define RAPT_KIT_BORDERS_GLSL

// A border between 0 and `most`, from its low 32 bits and its high ones, or what stands for them: the sign.
uint border_held(uint low, int high, uint most)
{
    return high < 0 ? 0 : high > 0 ? most : min(low, most);
}

#endif
