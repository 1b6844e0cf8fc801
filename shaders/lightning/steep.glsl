// Which of the two shaders of the slopes' gradients a head is for, where both run.
const float STEEP = 0.5;

bool is_steep(uint lane)
{
    return slope_of[slope + lane] > STEEP;
}
